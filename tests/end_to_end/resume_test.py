"""`kill -9` in a stage, then the same command: it goes on, and the result is the same as without the kill."""

import hashlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from evaluations import metrics
from whole_runs import WINDOW, Run, fulcrum, start_fulcrum

from report.summary import load_summary


def start_and_kill(*command: object, printed: Path, when: Callable[[], bool]) -> None:
    """Starts the command and kills all of it by SIGKILL once `when()` holds."""
    process = start_fulcrum(*command, printed=printed)
    deadline = time.time() + 300
    while not when():
        assert process.poll() is None, f"it ended before it could be killed:\n{printed.read_text()}"
        assert time.time() < deadline, f"the moment to kill it never came:\n{printed.read_text()}"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def digest(examples: Path) -> dict[str, str]:
    """The content of each split, whatever the order of its records."""
    digests = {}
    for split in ("train", "eval", "test"):
        files = sorted(map(str, (examples / f"Split-{split}").iterdir()))
        records = sorted(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
        digests[split] = hashlib.sha256(b"".join(hashlib.sha256(record).digest() for record in records)).hexdigest()
    return digests


def test_a_killed_run_goes_on_to_the_same_result(run: Run, tmp_path):
    output, printed = tmp_path / "output", tmp_path / "printed.txt"
    command = ("run", run.spec, "--logs", run.logs, "--window", WINDOW, "--output", output)
    ingest = output / "artifacts" / "InteractionExampleGen"
    start_and_kill(*command, printed=printed, when=lambda: any(path.is_file() for path in ingest.rglob("*")))
    assert "InteractionExampleGen" not in printed.read_text()

    start_and_kill(*command, printed=printed, when=lambda: "epoch 1/" in printed.read_text())
    assert "Trainer" not in printed.read_text()

    finished = fulcrum(*command)
    assert finished.code == 0, finished.err
    assert "going on after epoch" in finished.out

    resumed, whole = load_summary(output), load_summary(run.output)
    assert digest(Path(resumed.places["examples"])) == digest(Path(whole.places["examples"]))
    ours, theirs = metrics(resumed.places["evaluation"]), metrics(whole.places["evaluation"])
    assert ours == pytest.approx(theirs, abs=1e-6)
