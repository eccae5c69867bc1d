"""Training on several workers: a process for the chief, and one for each of the others, whom it tells what to do.

TF_CONFIG says who they are (`tf.distribute.MultiWorkerMirroredStrategy`). Only the chief is a part of the pipeline.
"""

import json
import logging
import os
import subprocess
import sys
import threading
import traceback
from types import SimpleNamespace
from typing import TYPE_CHECKING

import tensorflow as tf

from models.distribution import DistributionError, broadcast_from_chief

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

# The fields of `FnArgs` that `run_fn` reads.
_ARGUMENTS = (
    "train_files",
    "eval_files",
    "transform_graph_path",
    "serving_model_dir",
    "model_run_dir",
    "custom_config",
    "base_model",
    "hyperparameters",
)

_progress = logging.getLogger("fulcrum.progress")


def check_role(chief: bool) -> None:
    """Checks TF_CONFIG against the role that this process is to have.

    Args:
      chief: whether it is to be the chief, and not a worker that the chief tells what to do.

    Raises:
      DistributionError: it is not set, or names no cluster, no task of it, or another role's.
    """
    expected = 'expected {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        job, index = task["type"], int(task["index"])
        in_cluster = job in ("chief", "worker") and 0 <= index < len(jobs[job])
    except (ValueError, TypeError, KeyError):
        in_cluster = False
    if not in_cluster:
        raise DistributionError(
            f"TF_CONFIG, which training.distribution: multi_worker_mirrored goes by: got {text!r}, {expected}"
        )
    is_chief = job == "chief" or (index == 0 and "chief" not in jobs)
    if is_chief != chief:
        role = (
            "the chief: task `chief`, or `worker` 0 where there is none" if chief else "a worker that is not the chief"
        )
        raise DistributionError(f"TF_CONFIG: got the task {job} {index}, expected {role}")


def run_chief(fn_args: "FnArgs") -> None:
    """Trains as the chief, in a process of its own: TensorFlow joins other workers only before it has run anything.

    Raises:
      DistributionError: TF_CONFIG is not the chief's, or training failed; the message ends with the cause.
    """
    check_role(chief=True)
    arguments = json.dumps({name: getattr(fn_args, name, None) for name in _ARGUMENTS})
    command = [sys.executable, "-m", "models.training.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            # The rest of stdin stays open: its end tells the process that this one is gone.
            process.stdin.write(arguments + "\n")
            process.stdin.flush()
            last = ""
            for line in process.stdout:
                last = line.rstrip("\n")
                _progress.info("%s", last)
            code = process.wait()
        except BaseException:
            process.kill()
            raise
    if code:
        raise DistributionError(f"training on several workers ended with code {code}: {last}")


def run_worker() -> None:
    """Takes part in one training, until the chief has saved the model.

    Raises:
      DistributionError: TF_CONFIG is not that of a worker other than the chief.
    """
    check_role(chief=False)
    _join_training("")


def _join_training(arguments: str) -> None:
    """Waits for all workers, and trains with them by the chief's arguments, which are JSON."""
    handler = logging.StreamHandler(sys.stdout)
    _progress.handlers, _progress.propagate = [handler], False
    _progress.setLevel(logging.INFO)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    arguments = broadcast_from_chief(strategy, arguments)

    # Not before: what it imports might run TensorFlow.
    from models.training.run import train

    train(SimpleNamespace(**json.loads(arguments)), strategy)  # type: ignore[arg-type]


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(1)


def _chief_process() -> int:
    arguments = sys.stdin.readline()
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        _join_training(arguments)
    except Exception as error:
        traceback.print_exc()
        # As one line, since the Trainer's message ends with the last one.
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_chief_process())
