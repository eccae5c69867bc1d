"""Keeps TensorFlow's chatter off the terminal: what native code writes to stderr goes elsewhere, ours stays."""

import logging
import os
import sys
import warnings
from pathlib import Path


def quiet() -> None:
    """Silences TensorFlow, if it is not imported yet. Python's stderr, tracebacks too, still reaches the terminal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Below what PYTHONWARNINGS says.
    warnings.filterwarnings("ignore", append=True)
    logging.captureWarnings(True)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # TensorFlow's C++ logs of start-up heed no level; Python keeps the terminal under another descriptor.
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    send_native_stderr_to(Path(os.devnull))


def send_native_stderr_to(path: Path) -> None:
    """Appends to `path` what native code of this process, and its child processes, write to stderr from now on."""
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(target, 2)
    os.close(target)
