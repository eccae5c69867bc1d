"""Runs the probe in a process of its own, which may crash or hang, and says what became of it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import tensorflow as tf
from absl import logging

from components.serving_validator.probe import JOB, RECORDS, RESULT, STAGE, Job, ProbeResult

_STDERR = "stderr"
_LOGGED_CHARACTERS = 5_000
# `F0000 00:00:1795323785.196924    4482 control_flow_ops.cc:737] Abort_op intentional failure`
_FATAL = re.compile(r"F\d{4} .*?\] (.*)")
# TensorFlow says why it aborts at the level of errors; the rest is noise.
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}


def try_out(job: Job, records: Sequence[bytes], folder: Path, timeout_s: float) -> ProbeResult:
    """Returns what the probe found; a single finding where it ended without a result, or was killed.

    Args:
      folder: an empty one; the probe's files stay there.
      timeout_s: seconds after which it is killed.
    """
    (folder / JOB).write_text(json.dumps(asdict(job)))
    with tf.io.TFRecordWriter(str(folder / RECORDS)) as writer:
        for record in records:
            writer.write(record)
    command = [sys.executable, "-m", "components.serving_validator.probe", str(folder)]
    with open(folder / _STDERR, "wb") as stderr:
        process = subprocess.Popen(
            command, stdout=stderr, stderr=stderr, env={**os.environ, **_ENVIRONMENT}, start_new_session=True
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return ProbeResult(
                [f"the model's process was not done after {timeout_s:g} s and was killed: {_stage(folder)}"]
            )
        finally:
            _kill(process)
    result = folder / RESULT
    if code == 0 and result.is_file():
        return ProbeResult.from_json(result.read_text())
    printed = (folder / _STDERR).read_text(errors="replace")
    logging.error("The model's process printed:\n%s", printed[-_LOGGED_CHARACTERS:])
    return ProbeResult([f"the model's process {_ending(code)}: {_stage(folder)}{_last_words(printed)}"])


def _kill(process: subprocess.Popen) -> None:
    """Ends the process and whatever it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _ending(code: int) -> str:
    if code < 0:
        return f"died of {signal.Signals(-code).name}"
    return f"ended with code {code} and no report"


def _stage(folder: Path) -> str:
    stage = folder / STAGE
    return f"it was {stage.read_text()}" if stage.is_file() else "it was starting"


def _last_words(printed: str, limit: int = 500) -> str:
    """Returns why TensorFlow aborted, or the last line, which is where Python names its error."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    fatal = [match[1] for line in lines if (match := _FATAL.match(line))]
    words = (fatal or lines[-1:] or [""])[0]
    return f"; its last words: {words[:limit]}" if words else ""
