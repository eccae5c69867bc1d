import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from models.distribution import DistributionError, check_batch_size, check_batch_sizes, local_strategy
from models.export import signatures
from models.tasks import LabelSummary
from models.trainer import run_fn
from models.training import reading
from models.training.build import build_ranker
from models.training.worker import check_role
from schema.modelling import RankingLoss
from schema.spec import RankingSpec
from schema.tasks import Task
from schema.tuning import Tuning
from tests.models.conftest import COUNTS, RECIPE, Transformed, arguments_of, random_examples

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2"}
WORKER = "from models.training.worker import run_worker; run_worker()"


def lean(spec, **training):
    """Fewer columns and operations, for time's sake."""
    training = spec.training.model_copy(update={"epochs": 2, "learning_rate": 1e-3, **training})
    model = spec.model.model_copy(update={"routing": "mmoe", "task_experts": 1, "shared_experts": 1})
    changed = {"model": model, "training": training}
    return spec.model_copy(update={"features": (), "behaviours": spec.behaviours[:1], **changed})


@pytest.fixture(scope="module")
def alone(spec, trainer_arguments, tmp_path_factory) -> Path:
    """Trained on one device."""
    directory = tmp_path_factory.mktemp("alone")
    run_fn(FnArgs(**trainer_arguments(lean(spec), directory)))
    return directory


@pytest.fixture(scope="module")
def watching(spec, transform_examples, tmp_path_factory) -> tuple[RankingSpec, Transformed]:
    """A spec with a regression without bounds, and its examples."""
    watch = Task(name="watch_s", column="play", kind="regression", transform="log1p")
    watched = lean(spec, distribution="mirrored", epochs=1).model_copy(update={"tasks": (spec.tasks[0], watch)})
    raw = {split: random_examples(watched, count, seed) for seed, (split, count) in enumerate(COUNTS.items())}
    return watched, transform_examples(watched, raw, tmp_path_factory.mktemp("watched"))


@pytest.fixture(scope="module")
def watching_started_from(watching, tmp_path_factory) -> dict:
    """The arguments of a training that starts from a model whose labels deviated more."""
    watched, transformed = watching
    directory = tmp_path_factory.mktemp("watching")
    labels = {"click": LabelSummary(300, 0.5, 0.0, 1.0), "watch_s": LabelSummary(300, 9.0, 0.0, 99.0, 2.0, 5.0)}
    signatures.save(build_ranker(watched, transformed.output, labels), transformed.output, str(directory / "base"))
    return {**arguments_of(watched, transformed, directory), "base_model": str(directory / "base")}


@pytest.fixture(scope="module")
def on_two_devices(
    spec, transformed_for, trainer_arguments, watching_started_from, tmp_path_factory
) -> tuple[Path, dict]:
    """Trained on two logical CPU devices, and how far each kind of step then is from one device's."""
    directory = tmp_path_factory.mktemp("mirrored")
    ranked = {kind: lean(spec, ranking_loss=RankingLoss(kind=kind, weight=1.0)) for kind in ("pairwise", "jrc")}
    # Has the users within which they order as well.
    transformed = transformed_for(ranked["pairwise"])
    arguments = {
        "graph": transformed.graph,
        "examples": transformed.examples["train"],
        # The second replica gets nothing of the third batch.
        "count": 2 * 32 + 9,
        "steps": {
            name: (lean(spec, embedding_optimizer=optimizer, loss_balancing=balancing, **RECIPE).to_json(), compiled)
            for name, optimizer, balancing, compiled in (
                ("adagrad, uncertainty, compiled", "adagrad", "uncertainty", 1),
                ("lazy_adam, pcgrad", "lazy_adam", "pcgrad", 0),
            )
        }
        | {"pairwise, compiled": (ranked["pairwise"].to_json(), 1), "jrc": (ranked["jrc"].to_json(), 0)},
        "run_fn": [trainer_arguments(lean(spec, distribution="mirrored"), directory), watching_started_from],
    }
    program = Path(__file__).with_name("on_two_devices.py")
    done = subprocess.run(
        [sys.executable, str(program), json.dumps(arguments)],
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return directory, json.loads(done.stdout.splitlines()[0])


def test_a_step_of_two_replicas_is_that_of_one(on_two_devices):
    for name, difference in on_two_devices[1].items():
        assert difference["weights"] < 1e-5, name
        losses = np.array(difference["losses"]).reshape(2, -1)
        assert losses.shape == (2, 3)
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5, err_msg=name)


def weights(directory: Path) -> list[np.ndarray]:
    reader = tf.train.load_checkpoint(str(directory / "model" / "variables" / "variables"))
    types = reader.get_variable_to_dtype_map()
    return [reader.get_tensor(name) for name in sorted(types) if types[name] == tf.float32]


def assert_trained_alike(alone: Path, distributed: Path) -> None:
    histories = [json.loads((folder / "run" / "history.json").read_text()) for folder in (alone, distributed)]
    assert [len(history["epochs"]) for history in histories] == [2, 2]
    assert histories[0]["best_epoch"] == histories[1]["best_epoch"]
    for mine, theirs in zip(*(history["epochs"] for history in histories), strict=True):
        for split in ("train", "eval"):
            for task, metrics in mine[split].items():
                assert metrics == pytest.approx(theirs[split][task], abs=1e-4)
    for mine, theirs in zip(weights(alone), weights(distributed), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
    diagnostics = [json.loads((folder / "run" / "diagnostics.json").read_text()) for folder in (alone, distributed)]
    for gate, expected in diagnostics[0]["gate_weights"].items():
        assert diagnostics[1]["gate_weights"][gate] == pytest.approx(expected, abs=1e-3)


def served(directory: Path, transformed) -> dict[str, np.ndarray]:
    model = tf.saved_model.load(str(directory / "model")).signatures["serving_default"]
    outputs = model(tf.constant(np.array(transformed.raw["eval"], dtype=object)))
    return {task: output.numpy() for task, output in outputs.items()}


def test_mirrored_training_saves_what_one_device_does(alone, on_two_devices, transformed):
    directory, _ = on_two_devices
    assert_trained_alike(alone, directory)
    expected, actual = served(alone, transformed), served(directory, transformed)
    for task, output in expected.items():
        np.testing.assert_allclose(actual[task], output, atol=1e-4)
    graph = (directory / "model" / "saved_model.pb").read_bytes()
    assert b"Collective" not in graph
    assert list((directory / "checkpoints").iterdir()) == []


def test_what_is_saved_makes_the_errors_that_the_replicas_made(on_two_devices, watching, watching_started_from):
    _, transformed = watching
    directory = Path(watching_started_from["serving_model_dir"]).parent
    (epoch,) = json.loads((directory / "run" / "history.json").read_text())["epochs"]
    examples = [tf.train.Example.FromString(record).features.feature for record in transformed.raw["eval"]]
    label, space = (
        np.array([example[f"{column}_watch_s"].float_list.value[0] for example in examples])
        for column in ("label", "space")
    )
    errors = (served(directory, transformed)["watch_s"][:, 0] - label) ** 2
    assert np.average(errors, weights=space) == pytest.approx(epoch["eval"]["watch_s"]["mse"], rel=1e-4)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for sock in sockets:
        sock.bind(("localhost", 0))
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def test_two_workers_train_what_one_does_and_the_chief_alone_writes(
    spec, trainer_arguments, alone, tmp_path, monkeypatch, caplog
):
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    chief, follower_config = (
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}) for i in range(2)
    )
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    follower = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env={**os.environ, **QUIET, "TF_CONFIG": follower_config},
        stdout=subprocess.PIPE,
        text=True,
        cwd=nowhere,
    )
    try:
        monkeypatch.setenv("TF_CONFIG", chief)
        with caplog.at_level("INFO", "fulcrum.progress"):
            run_fn(FnArgs(**trainer_arguments(lean(spec, distribution="multi_worker_mirrored"), tmp_path)))
        output, _ = follower.communicate(timeout=60)
    finally:
        follower.kill()
    assert follower.returncode == 0
    assert_trained_alike(alone, tmp_path)
    assert list(nowhere.iterdir()) == []
    for split in ("train", "eval"):
        assert len(list((tmp_path / "run" / split).iterdir())) == 1
    # Both stopped by the same numbers.
    epochs = [line for line in output.splitlines() if line.startswith("epoch ")]
    chiefs = [record.message for record in caplog.records if record.message.startswith("epoch ")]
    assert len(epochs) == 2
    assert [line.split("examples/s")[1] for line in epochs] == [line.split("examples/s")[1] for line in chiefs]


def test_what_the_chief_fails_on_is_what_run_fn_says(spec, trainer_arguments, tmp_path, monkeypatch):
    (port,) = free_ports(1)
    config = {"cluster": {"worker": [f"localhost:{port}"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    arguments = trainer_arguments(lean(spec, distribution="multi_worker_mirrored"), tmp_path)
    arguments["train_files"] = [str(tmp_path / "none*")]
    with pytest.raises(DistributionError, match="TrainingDataError: the train split has no files"):
        run_fn(FnArgs(**arguments))


def test_the_parts_of_a_batch_are_the_batch(spec, transformed):
    records = reading.serialized_examples(reading.example_files([transformed.examples["train"]], "train")).take(50)

    def ids(worker=None) -> list[list[int]]:
        return [batch["user_id"].numpy().tolist() for batch in reading.batches(records, spec, 32, 3, worker)]

    batches = ids()
    # Two workers of two replicas each.
    workers = [ids(tf.distribute.InputContext(2, pipeline, 4)) for pipeline in range(2)]
    assert [len(parts) for parts in workers] == [4, 4]
    for number, batch in enumerate(batches):
        parts = [part for worker in workers for part in worker[2 * number : 2 * number + 2]]
        assert [user for part in parts for user in part] == batch


def test_a_batch_that_replicas_cant_share_is_refused(spec):
    training = spec.training.model_copy(update={"batch_size": 31, "distribution": "mirrored"})
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    check_batch_size(training, strategy)
    strategy = type("Two", (), {"num_replicas_in_sync": 2})
    with pytest.raises(DistributionError, match=r"training\.batch_size: got 31, expected a multiple of 2"):
        check_batch_size(training, strategy)
    tuned = spec.model_copy(update={"tuning": Tuning(batch_size=(32, 33))})
    with pytest.raises(DistributionError, match=r"tuning.batch_size\[1\]: got 33, expected a multiple of 2"):
        check_batch_sizes(tuned, strategy)


def test_one_device_needs_no_strategy(spec):
    assert local_strategy(spec.training) is tf.distribute.get_strategy()


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("", "got ''"),
        ("{}", "expected {"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "expected {"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "expected {"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}', "expected the chief"),
        (
            '{"cluster": {"chief": ["c:1"], "worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}',
            "expected the chief",
        ),
    ],
)
def test_a_chief_without_its_tf_config_is_refused_before_anything_is_read(
    spec, trainer_arguments, tmp_path, monkeypatch, config, problem
):
    monkeypatch.setenv("TF_CONFIG", config)
    arguments = trainer_arguments(lean(spec, distribution="multi_worker_mirrored"), tmp_path)
    arguments["train_files"] = ["/nowhere"]
    with pytest.raises(DistributionError, match=problem):
        run_fn(FnArgs(**arguments))


def test_a_worker_that_is_the_chief_is_refused(monkeypatch):
    config = {"cluster": {"chief": ["c:1"], "worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(DistributionError, match="got the task chief 0, expected a worker"):
        check_role(chief=False)
    check_role(chief=True)
