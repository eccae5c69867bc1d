"""Bars of a command's steps that say how far each is, and how fast."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

# Between two looks at a bar.
_SECONDS = 0.1


@contextmanager
def rates(
    console: Console, units: Mapping[str, str], clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[str, int, int, int], None]]:
    """Shows bars as long as it is entered.

    Args:
      units: what is counted in each step.

    Yields:
      What is to be called with a step, how much of it is done, of how much, and the count so far; at its start, too.
    """
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}"), TimeElapsedColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=console, transient=True) as progress:
        bars = {step: progress.add_task(step, total=None, start=False, rate="") for step in units}
        begun: dict[str, float] = {}
        looked = dict.fromkeys(units, float("-inf"))

        def show(step: str, done: int, total: int, count: int) -> None:
            now = clock()
            if now - looked[step] < _SECONDS and done < total:
                return
            looked[step] = now
            if step not in begun:
                begun[step] = now
                progress.start_task(bars[step])
            seconds = now - begun[step]
            rate = f"{count / seconds:,.0f} {units[step]}/s" if seconds else ""
            progress.update(bars[step], completed=done, total=total, rate=rate)
            if done == total:
                progress.stop_task(bars[step])

        yield show
