"""`kill -9` in a stage, then the same command: it goes on, and the result is the same as without the kill."""

import hashlib
import os
import signal
import time
from pathlib import Path

import tensorflow as tf
from whole_runs import Run, fulcrum, start_fulcrum

from pipeline.summary import load_summary


def kill_when(process, condition) -> str:
    """Kills the whole process group once `condition(printed so far)` holds; what was printed until then."""
    os.set_blocking(process.stdout.fileno(), False)
    printed = ""
    deadline = time.time() + 300
    while not condition(printed):
        assert process.poll() is None, f"it ended before it could be killed:\n{printed}"
        assert time.time() < deadline, f"the moment to kill it never came:\n{printed}"
        printed += process.stdout.read() or ""
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return printed


def digest(examples: Path) -> dict[str, str]:
    """The content of each split, whatever the order of its records."""
    digests = {}
    for split in ("train", "eval", "test"):
        files = sorted(map(str, (examples / f"Split-{split}").iterdir()))
        records = sorted(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
        digests[split] = hashlib.sha256(b"".join(hashlib.sha256(record).digest() for record in records)).hexdigest()
    return digests


def test_a_killed_run_goes_on_to_the_same_result(run: Run, tmp_path):
    command = ("run", run.spec, "--logs", run.logs, "--output", tmp_path)
    ingest = tmp_path / "artifacts" / "InteractionExampleGen"
    kill_when(start_fulcrum(*command), lambda _: any(path.is_file() for path in ingest.rglob("*")))

    printed = kill_when(start_fulcrum(*command), lambda printed: "epoch 1/" in printed)
    assert "InteractionExampleGen" in printed

    finished = fulcrum(*command)
    assert finished.code == 0, finished.err
    assert "going on after epoch" in finished.out

    resumed, whole = load_summary(tmp_path), load_summary(run.output)
    assert digest(Path(resumed.places["examples"])) == digest(Path(whole.places["examples"]))
    for ours, theirs in zip(resumed.tasks, whole.tasks, strict=True):
        assert ours.task == theirs.task
        for name, value in theirs.metrics.items():
            assert abs(ours.metrics[name] - value) < 1e-6, (ours.task, name)
