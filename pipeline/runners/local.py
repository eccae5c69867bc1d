"""Runs the pipeline on this machine, a line a stage; everything that TFX says goes to a log file."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import absl.logging
from absl import flags
from rich.console import Console
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline

from pipeline.runners.beam import pack_for_distributed_runners_only, send_inputs_whole
from pipeline.runners.quiet import send_native_stderr_to

# Messages of these loggers are for the person who waits: a training epoch, an ingest count.
PROGRESS_LOGGER = "fulcrum.progress"

# The messages of TFX's that the line of a stage goes by, as they are before their values are put in.
RUNNING, CACHED, FINISHED = "Component %s is running.", "A cached execution %d is used.", "Component %s is finished."


class StageError(RuntimeError):
    """A component failed. `stage` is its id; the cause is the exception that it raised."""

    def __init__(self, stage: str, cause: BaseException):
        super().__init__(f"{stage}: {cause}")
        self.stage = stage


class _StageLines(logging.Handler):
    """Turns LocalDagRunner's own log records into one line a stage, with its seconds."""

    def __init__(self, console: Console, stages: int):
        super().__init__()
        self.console, self.stages = console, stages
        self.stage, self.number, self.started, self.cached = "", 0, 0.0, False

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == RUNNING:
            (stage,) = record.args or ("",)
            self.stage, self.number, self.started, self.cached = str(stage), self.number + 1, time.time(), False
            if self.console.is_terminal:
                self.console.print(f"[dim]{self._label()} …[/dim]", end="\r")
        elif record.msg == CACHED:
            self.cached = True
        elif record.msg == FINISHED:
            seconds = f"{time.time() - self.started:7.1f} s"
            self.console.print(f"{self._label()} {seconds}{'  cached' if self.cached else ''}", highlight=False)

    def _label(self) -> str:
        return f"{self.number:2d}/{self.stages}  {self.stage:<24}"


class _ProgressLines(logging.Handler):
    def __init__(self, console: Console):
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        self.console.print(f"         {record.getMessage()}", highlight=False, markup=False)


def run(pipeline: Pipeline, console: Console, log_file: Path) -> None:
    """Runs every component in order; cached ones are skipped.

    Raises:
      StageError: a component failed; later ones did not run.
    """
    _batch_by_size()
    pack_for_distributed_runners_only()
    send_inputs_whole()
    stages = _StageLines(console, len(pipeline.components))
    with _logging_to(log_file, stages, _ProgressLines(console)):
        try:
            LocalDagRunner().run(pipeline)
        except Exception as error:
            logging.getLogger("absl").exception("%s failed", stages.stage)
            raise StageError(stages.stage or "the pipeline", error) from error


def _batch_by_size() -> None:
    """Has TFX batch examples by their bytes, not by how long earlier batches took: runs then repeat to the last bit."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    flags.FLAGS.tfxio_use_byte_size_batching = True


@contextmanager
def _logging_to(log_file: Path, stages: logging.Handler, progress: logging.Handler) -> Iterator[None]:
    log_file.parent.mkdir(parents=True, exist_ok=True)
    to_file = logging.FileHandler(log_file)
    send_native_stderr_to(log_file)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(name)s %(message)s"))
    handlers: dict[str, list[logging.Handler]] = {
        "": [to_file],
        "absl": [stages],
        PROGRESS_LOGGER: [progress],
        "tensorflow": [],
        "apache_beam": [],
    }
    loggers = {logging.getLogger(name): ours for name, ours in handlers.items()}
    before = {logger: (logger.handlers[:], logger.level) for logger in loggers}
    for logger, ours in loggers.items():
        logger.handlers = ours
        logger.setLevel(logging.INFO)
    # absl keeps its level in a flag as well, and takes the level from there when anything parses flags.
    absl.logging.set_verbosity(absl.logging.INFO)
    try:
        yield
    finally:
        for logger, (theirs, level) in before.items():
            logger.handlers = theirs
            logger.setLevel(level)
        to_file.close()
