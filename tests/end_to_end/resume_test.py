"""`kill -9` in a stage, then the same command: it goes on, and the result is the same as without the kill."""

from pathlib import Path

import pytest
import tensorflow as tf
from evaluations import epochs, metrics
from whole_runs import KubeflowRun, Run

from report.summary import load_summary


def records(split: Path) -> list[bytes]:
    """The serialised examples, whatever their order."""
    return sorted(tf.data.TFRecordDataset(sorted(map(str, split.iterdir())), "GZIP").as_numpy_iterator())


def test_a_run_was_killed_in_ingest_and_in_training(run: Run):
    in_ingest, in_training = run.killed
    assert "InteractionExampleGen" not in in_ingest
    assert "Transform" in in_training
    assert "Trainer" not in in_training


def test_what_was_done_comes_from_the_cache_and_training_goes_on_after_its_last_epoch(run: Run):
    assert "going on after epoch" in run.finished.out
    stages = {words[1]: words[-1] for line in run.finished.out.splitlines() if len(words := line.split()) > 3}
    assert stages["InteractionExampleGen"] == stages["Transform"] == "cached"
    assert stages["Trainer"] == "s"


def test_a_killed_run_goes_on_to_the_same_result(run: Run, kubeflow_run: KubeflowRun):
    resumed = load_summary(run.output)
    for split in ("train", "eval", "test"):
        ours = records(Path(resumed.places["examples"]) / f"Split-{split}")
        assert ours == records(kubeflow_run.outputs("examples") / f"Split-{split}")
    assert epochs(Path(resumed.places["TensorBoard logs"])) == pytest.approx(
        epochs(kubeflow_run.outputs("model_run")), abs=1e-6
    )
    ours, theirs = metrics(resumed.places["evaluation"]), metrics(kubeflow_run.outputs("evaluation"), "candidate")
    assert ours == pytest.approx({key: theirs[key] for key in ours}, abs=1e-6)
