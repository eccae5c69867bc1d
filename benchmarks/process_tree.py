"""What a command and every process below it take: memory together, and CPU time. Reads Linux's /proc."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SECONDS_BETWEEN = 0.25
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Taken:
    """What a command printed and took.

    Attributes:
      printed: its standard output.
      peak_gib: the highest sum of the processes' memory that was seen; pages that several share count once.
      cpu_seconds: of the command's own process.
      cpu_seconds_below: of the processes that it started, and of those that these started.
    """

    printed: str = ""
    peak_gib: float = 0.0
    cpu_seconds: float = 0.0
    _cpu_below: dict[tuple[int, str], float] = field(default_factory=dict)

    @property
    def cpu_seconds_below(self) -> float:
        return sum(self._cpu_below.values())

    def look(self, root: int) -> None:
        """Takes into account what the process `root` and those below it have at this moment."""
        below = list(_below(root))
        self.peak_gib = max(self.peak_gib, sum(map(_memory_bytes, [root, *below])) / 2**30)
        if (cpu := _cpu(root)) is not None:
            self.cpu_seconds = cpu[1]
        for process in below:
            if (cpu := _cpu(process)) is not None:
                started, seconds = cpu
                # An id may be given again to a later process.
                self._cpu_below[process, started] = seconds


def run(command: Sequence[str]) -> Taken:
    """Runs a command to its end, looking at its processes four times a second.

    Raises:
      RuntimeError: it failed; the message ends with what it wrote to stderr last.
    """
    taken = Taken()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while True:
            try:
                taken.printed, errors = process.communicate(timeout=_SECONDS_BETWEEN)
                break
            except subprocess.TimeoutExpired:
                taken.look(process.pid)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{errors[-5000:]}")
    return taken


def _below(process: int) -> Iterator[int]:
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, (_read(path) or "").split()):
            yield child
            yield from _below(child)


def _memory_bytes(process: int) -> int:
    """Returns the memory of a process, of what it shares its proportion; 0 if it has ended."""
    for line in (_read(Path(f"/proc/{process}/smaps_rollup")) or "").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _cpu(process: int) -> tuple[str, float] | None:
    """Returns when a process was started, in ticks, and its CPU seconds; None if it has ended."""
    stat = _read(Path(f"/proc/{process}/stat"))
    if stat is None:
        return None
    # The command's name, in parentheses, may hold anything; after it, fields are counted from `state`, the third.
    values = stat.rpartition(")")[2].split()
    return values[19], (int(values[11]) + int(values[12])) / _TICKS


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
