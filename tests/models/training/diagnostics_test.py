import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.ranker import Ranker, SharingWeights
from models.training import reading
from models.training.build import build_ranker
from models.training.diagnostics import MeanWeights, diagnose, gradient_cosines, scalars, weight_sums
from models.training.loop import train_epochs
from models.training.progress import ProgressStore


@dataclass(frozen=True)
class Trained:
    ranker: Ranker
    diagnostics: dict
    evaluation: tf.data.Dataset
    logs: Path


@pytest.fixture(scope="module")
def trained(spec, transformed, tmp_path_factory):
    """A ranker after one epoch, that epoch's record, and the eval split; fewer columns, for time's sake."""
    directory = tmp_path_factory.mktemp("trained")
    model = spec.model.model_copy(update={"bottom": "dtrn"})
    training = spec.training.model_copy(update={"epochs": 1})
    update = {"model": model, "training": training, "features": (), "behaviours": spec.behaviours[:1]}
    ranker = build_ranker(spec.model_copy(update=update), transformed.output)
    train, evaluation = (
        reading.serialized_examples(reading.example_files([transformed.examples[split]], split))
        for split in ("train", "eval")
    )
    store = ProgressStore.of(str(directory / "progress"), ranker)
    progress = train_epochs(ranker, train, evaluation, 300, store, str(directory / "logs"))
    return Trained(ranker, progress.epochs[0]["diagnostics"], evaluation, directory / "logs")


def test_weights_are_means_over_the_whole_eval_split_and_gates_named_by_task(trained):
    diagnostics, ranker = trained.diagnostics, trained.ranker
    (everything,) = reading.batches(trained.evaluation, ranker.spec, 100)
    gates = ranker.gate_weights(everything)
    names = [f"level_{level}/task_{task}" for level in (1, 2) for task in ("click", "completion", "like")]
    assert set(diagnostics["gate_weights"]) == {*names, "level_1/shared"}
    for name, weights in diagnostics["gate_weights"].items():
        gate = re.sub("click|completion|like", lambda task: str(names.index(f"level_1/task_{task[0]}")), name)
        np.testing.assert_allclose(weights, tf.reduce_mean(gates[gate], axis=0), atol=1e-5)
    for task, fields in ranker.refinement_weights(everything).items():
        expected = {field: float(tf.reduce_mean(weight)) for field, weight in fields.items()}
        assert diagnostics["refinement_weights"][task] == pytest.approx(expected, abs=1e-5)
        assert set(np.round(list(expected.values()), 3)) != {1.0}


def test_gradients_are_those_of_examples_from_all_over_the_eval_split(trained):
    spec = trained.ranker.spec
    first, spread = (
        gradient_cosines(trained.ranker, next(iter(reading.batches(trained.evaluation, spec, 32, seed))))
        for seed in (None, spec.training.seed)
    )
    assert trained.diagnostics["gradient_cosine"] == pytest.approx(spread, abs=1e-4)
    assert spread != pytest.approx(first, abs=1e-2)


def test_tensorboard_gets_each_weight_and_cosine(trained):
    (log,) = (trained.logs / "eval").glob("events.out.tfevents*")
    written = {
        value.tag: float(tf.make_ndarray(value.tensor))
        for event in tf.compat.v1.train.summary_iterator(str(log))
        for value in event.summary.value
    }
    expected = scalars(trained.diagnostics)
    assert {tag: written[tag] for tag in expected} == pytest.approx(expected, abs=1e-6)
    assert {"gate_weights/level_1/task_like/0", "refinement_weights/like/watched (interest)"} < set(expected)
    kinds = {"gate_weights", "refinement_weights", "gradient_cosine", "loss_weights"}
    assert {tag.partition("/")[0] for tag in expected} == kinds


@pytest.mark.parametrize(("labels", "low", "high"), [("same", 0.99, 1.01), ("opposite", -1.01, -0.99)])
def test_gradients_agree_where_two_tasks_want_the_same_and_conflict_where_they_want_the_opposite(
    build, batch, labels, low, high
):
    model = build(routing="shared_bottom")
    model(batch)
    for kernel in model.towers.networks.kernels:
        # Tower 2, of `like`, is tower 0, of `click`.
        kernel.assign(tf.gather(kernel, [0, 1, 0]))
    # Logits close to 0: a label of 1 then pulls as much as a label of 0 pushes.
    kernel.assign(1e-3 * kernel)
    space = tf.ones_like(batch["space_click"])
    label = batch["label_click"] if labels == "same" else 1.0 - batch["label_click"]
    cosines = gradient_cosines(model, {**batch, "label_like": label, "space_like": space, "space_click": space})
    assert set(cosines) == {"click|completion", "click|like", "completion|like"}
    assert low < cosines["click|like"] < high


def test_tasks_that_share_nothing_have_no_cosine(build, batch):
    model = build(routing="single_task")
    model(batch)
    assert gradient_cosines(model, batch) == {}


def test_a_task_without_an_example_in_the_batch_has_no_cosine(build, batch):
    model = build(routing="shared_bottom")
    model(batch)
    without = {**batch, "space_like": tf.zeros_like(batch["space_like"])}
    assert set(gradient_cosines(model, without)) == {"click|completion"}


def test_diagnosing_changes_neither_weights_nor_metrics(build, batch):
    model = build(bottom="dtrn")
    model(batch)
    model.compute_loss(batch)
    before, metrics, mean_weights = model.get_weights(), model.task_metrics(), MeanWeights()
    weights = SharingWeights(model.gate_weights(batch), model.refinement_weights(batch))
    mean_weights.add(weight_sums(model.spec.tasks, batch, weights))
    diagnostics = diagnose(model, mean_weights, batch)
    for value, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)
    assert model.task_metrics() == metrics
    assert diagnostics["loss_weights"] == {"click": 1.0, "completion": 1.0, "like": 1.0}
    assert diagnostics["refinement_weights"]["like"]["hour"] == 1.0


def test_scalars_have_a_path_for_a_name():
    nested = {"gate_weights": {"level_1/task_like": [0.25, 0.75]}, "loss_weights": {"like": 1.0}}
    assert scalars(nested) == {
        "gate_weights/level_1/task_like/0": 0.25,
        "gate_weights/level_1/task_like/1": 0.75,
        "loss_weights/like": 1.0,
    }
