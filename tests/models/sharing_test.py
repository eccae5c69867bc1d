"""`routing: auto`: each task is served by the network that does best on the eval split."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from models.sharing import ChosenNetworks, SharingError, choose_networks
from models.tasks import kind_of
from models.trainer import run_fn
from models.training import reading
from models.training.build import build_ranker
from models.training.warm_start import restore, warm_start
from schema.columns import label_name, space_name
from tests.models.conftest import with_model


@pytest.fixture(scope="module")
def eval_batches(spec, transformed) -> list:
    records = reading.serialized_examples(reading.example_files([transformed.examples["eval"]], "eval"))
    return list(reading.batches(records, spec, 32))


def with_logits(ranker, by_task):
    """Makes a ranker's logits those of `by_task`, from a batch and the task's number."""
    ranker.logits = lambda batch: [by_task(batch, k) for k in range(len(ranker.spec.tasks))]
    return ranker


def true_logits(batch, task, sign):
    return tf.reshape(sign * (2 * batch[label_name(task)] - 1), [-1, 1])


def test_each_task_chooses_what_orders_or_fits_its_labels_best(spec, build, eval_batches):
    shared, own, tasks = build(), build(routing="single_task"), spec.tasks
    # The first task: sharing is right, its own network wrong; the others the other way round.
    with_logits(shared, lambda batch, k: true_logits(batch, tasks[k], 1.0 if k == 0 else -1.0))
    with_logits(own, lambda batch, k: true_logits(batch, tasks[k], -1.0 if k == 0 else 1.0))
    choices = choose_networks(shared, own, eval_batches)
    assert {name: choice.network for name, choice in choices.items()} == {
        task.name: "shared" if k == 0 else "own" for k, task in enumerate(tasks)
    }
    for task in tasks:
        choice = choices[task.name]
        assert choice.metric == ("mse" if task.is_regression else "auc")
        if choice.metric == "auc":
            worst = "own" if choice.network == "shared" else "shared"
            assert choice.values[choice.network] == pytest.approx(1.0, abs=1e-6)
            assert choice.values[worst] == pytest.approx(0.0, abs=1e-6)


def test_the_mean_is_chosen_where_the_errors_of_both_cancel(spec, build, eval_batches):
    shared, own, tasks = build(), build(routing="single_task"), spec.tasks

    def with_error(sign):
        def logits(batch, k):
            right = true_logits(batch, tasks[k], 1.0)
            wave = tf.sin(10.0 * tf.range(right.shape[0], dtype=tf.float32))[:, tf.newaxis]
            return right + sign * 3.0 * wave

        return logits

    with_logits(shared, with_error(1.0))
    with_logits(own, with_error(-1.0))
    assert {choice.network for choice in choose_networks(shared, own, eval_batches).values()} == {"both"}


def test_a_regression_chooses_by_the_error_that_is_judged_and_not_by_its_loss(spec, build, eval_batches):
    (k,) = (k for k, task in enumerate(spec.tasks) if task.is_regression)
    task = spec.tasks[k]
    shared, own = build(), build(routing="single_task")
    shared.spec = spec.with_training(ratio_loss="cross_entropy")

    def right_but_once(batch):
        label = tf.clip_by_value(batch[label_name(task)], 0.01, 0.99)
        first = tf.cumsum(batch[space_name(task)]) <= 1.0
        return tf.where(first, -200.0, tf.math.log(label / (1.0 - label)))[:, tf.newaxis]

    with_logits(shared, lambda batch, _: right_but_once(batch))
    with_logits(own, lambda batch, _: tf.zeros_like(batch[label_name(task)])[:, tf.newaxis])
    kind = kind_of(task, shared.spec.training)

    def loss(ranker):
        return sum(
            tf.reduce_sum(batch[space_name(task)] * kind.loss(batch[label_name(task)], ranker.logits(batch)[k][:, 0]))
            for batch in eval_batches
        )

    assert loss(shared) > loss(own)
    choice = choose_networks(shared, own, eval_batches)[task.name]
    assert (choice.network, choice.metric) == ("shared", "mse")


def test_where_nothing_can_be_told_the_tasks_share(spec, build, eval_batches):
    shared, own = build(), build(routing="single_task")
    nothing = [
        {**batch, **{space_name(task): batch[space_name(task)] * 0 for task in spec.tasks}} for batch in eval_batches
    ]
    assert {choice.network for choice in choose_networks(shared, own, nothing).values()} == {"shared"}


def test_each_task_is_scored_by_its_network(spec, build, batch):
    shared, own = build(), build(routing="single_task")
    by_shared, by_own = shared(batch), own(batch)
    names = [task.name for task in spec.tasks]
    networks = dict(zip(names, ["shared", "own", "both"] * len(names), strict=False))
    scored = ChosenNetworks(shared, own, networks)(batch)
    for name in names:
        if networks[name] == "both":
            low, high = (f(by_shared[name], by_own[name]) for f in (tf.minimum, tf.maximum))
            assert ((scored[name] >= low) & (scored[name] <= high)).numpy().all()
        else:
            expected = by_shared if networks[name] == "shared" else by_own
            np.testing.assert_array_equal(scored[name], expected[name])


@pytest.fixture(scope="module")
def auto(spec, trainer_arguments, tmp_path_factory) -> Path:
    """The single-task reference, and what chooses from it, both trained for an epoch."""
    directory = tmp_path_factory.mktemp("auto")
    short = spec.model_copy(update={"training": spec.training.model_copy(update={"epochs": 1})})
    run_fn(FnArgs(**trainer_arguments(with_model(short, routing="single_task"), directory / "reference")))
    arguments = trainer_arguments(
        with_model(short, routing="auto"), directory, reference_model=str(directory / "reference" / "model")
    )
    run_fn(FnArgs(**arguments))
    return directory


def test_the_saved_model_scores_each_task_as_the_records_say(auto, spec, transformed):
    choices = json.loads((auto / "run" / "diagnostics.json").read_text())["choices"]
    assert list(choices) == [task.name for task in spec.tasks]
    networks = {name: choice["network"] for name, choice in choices.items()}
    # The seed is one at which not all share: else the ranker is saved as it is.
    assert set(networks.values()) != {"shared"}
    shared = build_ranker(with_model(spec, routing="auto"), transformed.output)
    own = build_ranker(with_model(spec, routing="single_task"), transformed.output)
    restore(shared, str(auto / "model"))
    restore(own, str(auto / "reference" / "model"))
    raw = transformed.raw["eval"]
    records = reading.serialized_examples(reading.example_files([transformed.examples["eval"]], "eval"))
    (batch,) = reading.batches(records, spec, len(raw))
    expected = ChosenNetworks(shared, own, networks)(batch)
    scores = tf.saved_model.load(str(auto / "model")).signatures["serving_default"](tf.constant(raw))
    for name in networks:
        # Beam writes the examples in another order.
        np.testing.assert_allclose(*(np.sort(outputs[name][:, 0]) for outputs in (scores, expected)), atol=1e-5)


def test_a_warm_start_goes_on_from_the_network_that_shares(auto, spec, transformed):
    changed = with_model(spec, routing="auto")
    restored, started = (build_ranker(changed, transformed.output) for _ in range(2))
    restore(restored, str(auto / "model"))
    warm_start(started, transformed.output, str(auto / "model"))
    for expected, variable in zip(restored.trainable_variables, started.trainable_variables, strict=True):
        np.testing.assert_array_equal(variable, expected)


def test_without_a_reference_it_is_told_before_any_data_is_read(spec, trainer_arguments, tmp_path):
    arguments = trainer_arguments(with_model(spec, routing="auto"), tmp_path)
    arguments["train_files"] = ["/nowhere"]
    with pytest.raises(SharingError, match="no reference was trained"):
        run_fn(FnArgs(**arguments))
