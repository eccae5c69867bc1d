import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from models.trainer import run_fn
from models.training import reading
from models.training.build import build_ranker
from models.training.progress import ProgressStore
from models.training.reading import TrainingDataError
from models.training.step import training_function
from models.training.warm_start import warm_start
from schema.modelling import RankingLoss
from tests.models.conftest import RECIPE

PROGRAM = """
import json, sys, types
from models.trainer import run_fn
from models.training import optimizer
optimizer.WORTH_COMPILING_STEPS = int(sys.argv[2])
assert optimizer.choose_jit(sparse_tables=False, steps=304) == sys.argv[3]
run_fn(types.SimpleNamespace(**json.loads(sys.argv[1])))
"""


def with_training(spec, **update):
    return spec.model_copy(update={"training": spec.training.model_copy(update=update)})


@pytest.fixture(scope="module")
def trained(spec, trainer_arguments, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("trained")
    run_fn(FnArgs(**trainer_arguments(spec, directory)))
    return directory


def test_the_history_tells_loss_and_auc_of_each_task_and_epoch(trained):
    history = json.loads((trained / "run" / "history.json").read_text())
    assert history["examples"] == 300
    assert [record["epoch"] for record in history["epochs"]] == [1, 2, 3]
    losses = [np.mean([task["loss"] for task in record["eval"].values()]) for record in history["epochs"]]
    assert history["best_epoch"] == 1 + int(np.argmin(losses))
    assert history["best_loss"] == pytest.approx(min(losses))
    for record in history["epochs"]:
        assert record["examples_per_second"] > 0
        for split in ("train", "eval"):
            keys = {task: set(metrics) for task, metrics in record[split].items()}
            assert keys == {"click": {"loss", "auc"}, "completion": {"loss"}, "like": {"loss", "auc"}}


def test_the_ranker_learns_what_there_is_to_learn(trained):
    last = json.loads((trained / "run" / "history.json").read_text())["epochs"][-1]
    assert last["eval"]["click"]["auc"] > 0.6


def test_tensorboard_gets_every_epoch(trained):
    (log,) = (trained / "run" / "eval").glob("events.out.tfevents*")
    steps = [
        event.step
        for event in tf.compat.v1.train.summary_iterator(str(log))
        for value in event.summary.value
        if value.tag == "click/auc"
    ]
    assert steps == [1, 2, 3]


def test_the_diagnostics_follow_every_epoch_and_tell_the_weights_of_the_best(trained):
    diagnostics = json.loads((trained / "run" / "diagnostics.json").read_text())
    assert set(diagnostics) == {"gate_weights", "refinement_weights", "gradient_cosine", "loss_weights", "choices"}
    assert diagnostics["choices"] == {}
    assert sum(diagnostics["gate_weights"]["level_2/task_like"]) == pytest.approx(1.0, abs=1e-4)
    assert [record["weights"]["like"] for record in diagnostics["loss_weights"]] == [1.0, 0.5, 0.25]
    assert [record["epoch"] for record in diagnostics["gradient_cosine"]] == [1, 2, 3]
    # The tower of `completion`, of four units, is soon dead and gives no gradient.
    assert all("click|like" in record["pairs"] for record in diagnostics["gradient_cosine"])


def test_the_spec_lies_beside_the_saved_model(trained, spec):
    text = (trained / "model" / "assets.extra" / "ranking_spec.json").read_text()
    assert type(spec).from_json(text) == spec


def test_nothing_is_left_to_go_on_from_after_success(trained):
    assert list((trained / "checkpoints").iterdir()) == []


def variables(model: Path) -> dict[str, np.ndarray]:
    prefix = str(model / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if reader.get_variable_to_dtype_map()[name] == tf.float32
    }


@pytest.mark.parametrize(
    ("embedding_optimizer", "ranking_loss", "worth_compiling", "compiled"),
    [("lazy_adam", "jrc", 1_000, "nothing"), ("adam", "pairwise", 1, "step")],
)
def test_a_training_that_was_killed_goes_on_to_the_same_result(
    spec, trainer_arguments, tmp_path, embedding_optimizer, ranking_loss, worth_compiling, compiled
):
    """Tables by rows, step by step as Python has it; and the whole step compiled by XLA."""
    # Fewer columns, for time's sake. Every option that has a state, or draws at random.
    spec = with_training(spec, epochs=8, patience=8, batch_size=8, embedding_optimizer=embedding_optimizer, **RECIPE)
    spec = with_training(spec, ranking_loss=RankingLoss(kind=ranking_loss))
    spec = spec.model_copy(update={"features": (), "behaviours": spec.behaviours[:1]})
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}

    def start(attempt: str, checkpoints: str) -> subprocess.Popen:
        # TFX gives every attempt directories of its own.
        arguments = trainer_arguments(spec, tmp_path / attempt, checkpoint_dir=str(tmp_path / checkpoints))
        command = [sys.executable, "-c", PROGRAM, json.dumps(arguments), str(worth_compiling), compiled]
        return subprocess.Popen(command, env=environment)

    uninterrupted = start("whole", "checkpoints-of-whole")
    killed = start("killed", "checkpoints")
    deadline = time.time() + 300
    while not any(
        json.loads(state.read_text())["epochs"] for state in (tmp_path / "checkpoints").glob("*/progress.json")
    ):
        assert killed.poll() is None, "it ended before it could be killed"
        assert time.time() < deadline, "no epoch was done in five minutes"
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model" / "saved_model.pb").exists()
    (state,) = (tmp_path / "checkpoints").glob("*/progress.json")
    done = len(json.loads(state.read_text())["epochs"])
    assert 1 <= done < 8

    resumed = start("resumed", "checkpoints")
    assert resumed.wait() == 0
    assert uninterrupted.wait() == 0
    a, b = (variables(tmp_path / attempt / "model") for attempt in ("whole", "resumed"))
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], err_msg=name)
    histories = [
        json.loads((tmp_path / attempt / "run" / "history.json").read_text()) for attempt in ("whole", "resumed")
    ]
    assert histories[0]["best_epoch"] == histories[1]["best_epoch"]
    for expected, again in zip(histories[0]["epochs"], histories[1]["epochs"], strict=True):
        assert (expected["train"], expected["eval"]) == (again["train"], again["eval"])


def test_a_training_whose_disk_is_full_stops_and_goes_on_to_the_same_result(
    spec, trained, trainer_arguments, tmp_path, monkeypatch
):
    limits, save = resource.getrlimit(resource.RLIMIT_FSIZE), ProgressStore.save

    def save_until_full(store, progress):
        if progress.done == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
        save(store, progress)

    monkeypatch.setattr(ProgressStore, "save", save_until_full)
    arguments = {"checkpoint_dir": str(tmp_path / "checkpoints")}
    try:
        with pytest.raises((OSError, tf.errors.OpError), match=r"(?i)file too large|failed to write"):
            run_fn(FnArgs(**trainer_arguments(spec, tmp_path / "full", **arguments)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    monkeypatch.setattr(ProgressStore, "save", save)
    assert not (tmp_path / "full" / "model" / "saved_model.pb").exists()
    (state,) = (tmp_path / "checkpoints").glob("*/progress.json")
    assert len(json.loads(state.read_text())["epochs"]) == 1
    run_fn(FnArgs(**trainer_arguments(spec, tmp_path / "again", **arguments)))
    ours, expected = (variables(folder / "model") for folder in (tmp_path / "again", trained))
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(value, ours[name], err_msg=name)


def test_the_averages_are_what_is_saved_and_what_a_warm_start_begins_with(
    spec, transformed_for, trainer_arguments, tmp_path
):
    lean = with_training(spec, epochs=1, averaging=0.7)
    model = spec.model.model_copy(update={"routing": "shared_bottom"})
    lean = lean.model_copy(update={"features": (), "behaviours": (), "model": model})
    run_fn(FnArgs(**trainer_arguments(lean, tmp_path)))

    transformed = transformed_for(lean)
    records = reading.serialized_examples(reading.example_files([transformed.examples["train"]], "train"))
    _, labels = reading.label_summaries(records, lean, "train")
    by_hand = build_ranker(lean, transformed.output, labels)
    averages = [variable.numpy() for variable in by_hand.trainable_variables]
    step = training_function(by_hand)
    for t, batch in enumerate(reading.batches(records, lean, lean.training.batch_size, lean.training.seed + 1)):
        step(batch)
        decay = min(0.7, (1 + t) / (10 + t))
        latest = [variable.numpy() for variable in by_hand.trainable_variables]
        averages = [decay * average + (1 - decay) * now for average, now in zip(averages, latest, strict=True)]

    started = build_ranker(lean, transformed.output)
    warm_start(started, transformed.output, str(tmp_path / "model"))
    for variable, average in zip(started.trainable_variables, averages, strict=True):
        np.testing.assert_allclose(variable, average, atol=1e-5)
    assert any(np.abs(average - now).max() > 1e-3 for average, now in zip(averages, latest, strict=True))


def test_a_changed_spec_does_not_go_on_from_another_ones_weights(spec, trainer_arguments, tmp_path):
    checkpoints = tmp_path / "checkpoints"
    (tmp_path / "model").write_text("a file, where the model's directory should be")
    for seed in (1, 2):
        changed = with_training(spec, epochs=1, seed=seed)
        # Fewer columns, for time's sake.
        changed = changed.model_copy(update={"features": (), "behaviours": ()})
        with pytest.raises(tf.errors.OpError):
            run_fn(FnArgs(**trainer_arguments(changed, tmp_path)))
    assert len(list(checkpoints.iterdir())) == 2


def relabelled(transformed, tmp_path, change) -> str:
    files = tf.io.gfile.glob(transformed.examples["train"])
    with tf.io.TFRecordWriter(str(tmp_path / "relabelled.gz"), "GZIP") as writer:
        for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
            example = tf.train.Example.FromString(record)
            change(example.features.feature)
            writer.write(example.SerializeToString())
    return str(tmp_path / "relabelled.gz")


def test_a_task_without_a_positive_is_told_before_training(spec, transformed, trainer_arguments, tmp_path):
    def no_likes(features):
        features["label_like"].float_list.value[0] = 0.0

    arguments = trainer_arguments(spec, tmp_path)
    arguments["train_files"] = [relabelled(transformed, tmp_path, no_likes)]
    with pytest.raises(TrainingDataError, match="task 'like' has only labels of 0 in the train split"):
        run_fn(FnArgs(**arguments))


def test_an_empty_split_is_told_before_training(spec, trainer_arguments, tmp_path):
    arguments = trainer_arguments(spec, tmp_path)
    with tf.io.TFRecordWriter(str(tmp_path / "empty.gz"), "GZIP"):
        pass
    arguments["eval_files"] = [str(tmp_path / "empty.gz")]
    with pytest.raises(TrainingDataError, match="the eval split is empty"):
        run_fn(FnArgs(**arguments))


def test_an_unknown_routing_is_told_before_any_data_is_read(spec, trainer_arguments, tmp_path):
    changed = spec.model_copy(update={"model": spec.model.model_copy(update={"routing": "mystery"})})
    arguments = trainer_arguments(changed, tmp_path)
    arguments["train_files"] = ["nowhere"]
    with pytest.raises(ValueError, match="unknown routing 'mystery'"):
        run_fn(FnArgs(**arguments))
