"""A whole run on simulated logs: what it prints, what it leaves behind, and what a second run does again."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from whole_runs import TASKS, WINDOW, Run, fulcrum, rows_by_day, stages, write_spec

from models.export import signatures
from models.ranker import Ranker
from models.training import reading
from models.training.build import build_ranker
from report.summary import load_summary
from schema.loading import load_spec

SLICES = ("tab", "country", "item.impressions")


def test_a_run_goes_through_every_stage_and_ends_with_a_pushed_model(run: Run):
    assert list(stages(run.finished.out)) == [
        "InteractionExampleGen",
        "SchemaSource",
        "StatisticsGen",
        "DistributionValidator",
        "ExampleValidator",
        "AnomalyCheck",
        "DriftCheck",
        "Transform",
        "Trainer",
        "BaselineResolver",
        "ServingValidator",
        "SeesawEvaluator",
        "Pusher",
        "EvaluationReport",
    ]
    assert "Blessed" in run.finished.out
    (version,) = (run.output / "serving" / "shortvideo").iterdir()
    assert (version / "saved_model.pb").is_file()
    assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()


def test_nothing_of_tensorflows_chatter_reaches_the_terminal(run: Run):
    assert run.finished.err == ""
    assert "tensorflow" not in run.finished.out.lower().replace("tensorboard", "")


def test_the_summary_has_every_task_overall_and_on_its_worst_slice(run: Run):
    summary = load_summary(run.output)
    assert summary.blessed
    impressions = sum(rows_by_day(run.logs).values())
    splits = {name: split["examples"] for name, split in summary.ingest["splits"].items()}
    assert sum(splits.values()) == impressions
    assert splits["test"] == round(0.1 * impressions)
    evaluation = summary.evaluation
    assert [task.name for task in evaluation.tasks] == TASKS
    assert evaluation.examples == splits["test"]
    for task in evaluation.tasks:
        estimate = evaluation.result(task.name).metrics[task.metric]["candidate"]
        assert estimate.low < estimate.value < estimate.high
        assert {name for result in evaluation.slices(task.name) for name, _ in result.slice} == {*SLICES}
        line = re.search(
            rf"│ {task.name} +│ +[\d,]+ │ (AUC|MSE) +│ ([\d.]+) ±[\d.]+ │.* │ ({'|'.join(SLICES)})=", run.finished.out
        )
        assert line[2] == f"{estimate.value:.4f}"


def test_the_window_is_told_day_by_day_and_so_is_the_drift_of_its_newest_impressions(run: Run):
    days = ", ".join(f"{day} {rows:,}" for day, rows in rows_by_day(run.logs).items())
    assert f"window: examples of {days}; 0 rows carried on" in run.finished.out
    assert "drift, test against train: hour: The Linfty distance" in " ".join(run.finished.out.split())


def test_show_prints_the_summary_of_a_past_run(run: Run):
    shown = fulcrum("show", run.output)
    assert shown.code == 0
    assert shown.out.strip()
    assert shown.out.strip() in run.finished.out


def test_training_left_a_history_and_tensorboard_logs(run: Run):
    logs = Path(load_summary(run.output).places["TensorBoard logs"])
    history = json.loads((logs / "history.json").read_text())
    assert set(history["epochs"][0]["eval"]) == set(TASKS)
    assert {"loss", "auc"} <= set(history["epochs"][0]["eval"]["like"])
    assert list(logs.glob("train/events.*"))
    assert list(logs.glob("eval/events.*"))


def test_an_unchanged_run_comes_from_the_cache(run: Run):
    again = fulcrum("run", run.spec, "--logs", run.logs, "--window", WINDOW, "--output", run.output)
    assert again.code == 0
    fresh = [stage for stage, cached in stages(again.out).items() if not cached]
    assert fresh == ["BaselineResolver"]


@pytest.fixture(scope="module")
def serialized(run: Run) -> np.ndarray:
    """1,000 raw eval examples."""
    examples = Path(load_summary(run.output).places["examples"])
    files = sorted(map(str, (examples / "Split-eval").iterdir()))
    return np.array(list(tf.data.TFRecordDataset(files, "GZIP").take(1_000).as_numpy_iterator()), dtype=object)


def test_plain_tensorflow_scores_like_the_trainers_model(run: Run, serialized, tmp_path):
    (version,) = (run.output / "serving" / "shortvideo").iterdir()
    np.save(tmp_path / "examples.npy", serialized)
    script = Path(__file__).with_name("savedmodel_in_plain_tensorflow.py")
    subprocess.run(
        [sys.executable, "-I", script, version, tmp_path / "examples.npy", tmp_path / "scores.npz"],
        check=True,
        cwd=tmp_path,
    )
    served = np.load(tmp_path / "scores.npz")

    _, servable = trainers_model(run)
    trained = servable.functions["serving_default"](tf.constant(serialized))
    for task in TASKS:
        np.testing.assert_allclose(served[task], trained[task].numpy(), atol=1e-5)


def test_training_read_what_serving_computes(run: Run, serialized):
    """No skew: the transformed examples on disk score as the raw ones do through the served graph."""
    ranker, servable = trainers_model(run)
    served = servable.functions["serving_default"](tf.constant(serialized))
    (folder,) = (run.output / "artifacts" / "Transform" / "transformed_examples").iterdir()
    files = sorted(map(str, (folder / "Split-eval").iterdir()))
    records = reading.serialized_examples(files)
    examples = sum(1 for _ in records)
    assert examples == load_summary(run.output).ingest["splits"]["eval"]["examples"]
    (batch,) = reading.batches(records, ranker.spec, examples)
    trained = ranker(batch)
    for task in TASKS:
        # The two have different orders: each of the 1,000 raw examples must find its score among those on disk.
        on_disk = np.sort(trained[task].numpy().ravel())
        scores = served[task].numpy().ravel()
        nearest = on_disk[np.clip(np.searchsorted(on_disk, scores), 1, examples - 1)]
        before = on_disk[np.clip(np.searchsorted(on_disk, scores) - 1, 0, examples - 1)]
        assert np.minimum(abs(scores - nearest), abs(scores - before)).max() < 1e-5


def test_a_gate_that_fails_blocks_the_push_with_its_reason(run: Run, tmp_path):
    """The last test of the shared run: it trains another model in its folder, and compares it with the blessed one."""
    first = load_summary(run.output)
    strict = write_spec(tmp_path / "strict.yaml", gates={"like": {"auc": 0.999, "max_drop": 0.5}})
    logs = ("--logs", run.logs, "--window", WINDOW)
    again = fulcrum("run", strict, *logs, "--output", run.output, "--epochs", 2, "--warm-start")
    assert again.code == 0
    assert f"starting from {first.places['model']}/Format-Serving: " in again.out
    assert re.search(r"Not blessed.*\n +like: auc is 0\.\d+ \[.*\], below the gate's 0\.9990", again.out)
    assert load_summary(run.output).baseline == first.places["model"]
    # What the changed part of the spec doesn't reach comes from the cache.
    fresh = [stage for stage, cached in stages(again.out).items() if not cached]
    assert fresh == [
        "WarmStartResolver",
        "Trainer",
        "BaselineResolver",
        "ServingValidator",
        "SeesawEvaluator",
        "Pusher",
        "EvaluationReport",
    ]
    assert len(list((run.output / "serving" / "shortvideo").iterdir())) == 1


def trainers_model(run: Run) -> tuple[Ranker, signatures.Servable]:
    """The Keras ranker as the Trainer left it: its weights from the SavedModel's checkpoint, its code from here."""
    spec = load_spec(run.spec)
    (graph,) = (run.output / "artifacts" / "Transform" / "transform_graph").iterdir()
    transform = tft.TFTransformOutput(str(graph))
    ranker = build_ranker(spec, transform)
    servable = signatures.Servable(ranker, transform)
    variables = Path(load_summary(run.output).places["model"]) / "Format-Serving" / "variables" / "variables"
    tf.train.Checkpoint(weights=servable.weights).read(str(variables)).assert_existing_objects_matched()
    return ranker, servable
