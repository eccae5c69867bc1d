"""`kill -9` of a run at a moment of one of its stages."""

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import forked
from tfx.orchestration.portable.launcher import Launcher

# Said in the last line of what a run printed that was killed as it wrote a file.
WRITING = "killed while it wrote"


@dataclass(frozen=True)
class Moment:
    """When to kill: a file that matches `files`, below the output, is new; or the stage is done, and nobody knows yet.

    With `says`, not before the run has printed it.
    """

    stage: str
    files: str
    says: str = ""


def run_until(moment: Moment, arguments: list[str], output: Path, printed: Path) -> str:
    """Runs the command till the moment, and kills all of it by SIGKILL; returns what it had printed.

    Raises:
      AssertionError: it ended before.
    """
    process = forked.start(_run_until, moment, arguments, output, printed)
    process.join()
    said = printed.read_text()
    assert process.exitcode == -signal.SIGKILL, f"{moment}: it ended with {process.exitcode}:\n{said}"
    return said


def run_to_its_end(arguments: list[str], printed: Path) -> str:
    """Runs the command, and returns what it printed.

    Raises:
      AssertionError: it failed.
    """
    process = forked.start(_run, arguments, printed)
    process.join()
    said = printed.read_text()
    assert process.exitcode == 0, said
    return said


def _run_until(moment: Moment, arguments: list[str], output: Path, printed: Path) -> None:
    printed.touch()
    # The leader of its own process group, so that whatever it starts goes with it.
    os.setsid()
    threading.Thread(target=_kill_at, args=(moment, output, printed, _files(moment, output)), daemon=True).start()
    publish = Launcher._publish_successful_execution

    def kill_before(launcher: Launcher, *published: object) -> None:
        if launcher._pipeline_node.node_info.id == moment.stage:
            os.killpg(0, signal.SIGKILL)
        publish(launcher, *published)

    Launcher._publish_successful_execution = kill_before
    _run(arguments, printed)


def _run(arguments: list[str], printed: Path) -> None:
    sys.stdout = printed.open("a", buffering=1)
    # From which the command makes its own stderr.
    os.dup2(sys.stdout.fileno(), 2)
    sys.argv = ["fulcrum", *arguments]
    from pipeline.cli.main import main

    main()


def _kill_at(moment: Moment, output: Path, printed: Path, before: dict[Path, int]) -> None:
    while moment.says not in printed.read_text() or not (new := _files(moment, output).items() - before.items()):
        time.sleep(0.003)
    # Not by the stream of the thread that prints, which may hold its lock.
    with printed.open("a") as end:
        end.write(f"{WRITING} {min(new)[0]}\n")
    os.killpg(0, signal.SIGKILL)


def _files(moment: Moment, output: Path) -> dict[Path, int]:
    """Returns when each file of the moment was changed last."""
    times = {}
    for path in output.glob(moment.files):
        try:
            if path.is_file():
                times[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            # A scratch file, renamed by now.
            continue
    return times
