"""The commands of the online store: `fulcrum materialize` and `fulcrum update`, and what `fulcrum show` says of one."""

import json
import os
import re
import select
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipeline.cli.options import LogsDir, SpecPath
from pipeline.cli.rates import rates
from pipeline.cli.terminal import console, errors, fail

if TYPE_CHECKING:
    from ingest.raw import BadRow
    from pipeline.online.updater import Updated
    from serving.store.protocol import OnlineStore

app = typer.Typer()

StoreUrl = Annotated[
    str, typer.Option("--store", help="sqlite:///PATH (or sqlite:PATH from here), or redis://HOST:PORT/DB.")
]
_STORE = re.compile(r"(sqlite|redis|rediss|unix|memory):")
# What became of events that weren't counted.
_OUTCOMES = {
    "repeated": "counted before",
    "settled": "of days that the store holds",
    "unused": "not of the spec",
    "rejected": "left out",
}
# How long a batch that isn't full waits for more events.
_PATIENCE_SECONDS = 1.0


@app.command()
def materialize(
    spec: SpecPath,
    logs: LogsDir,
    output: Annotated[Path, typer.Option(help="The folder of a run: earlier days' state, and unfinished work.")],
    store: StoreUrl,
    until: Annotated[
        str | None, typer.Option(help="The last day that goes in, such as 2026-11-25; by default the newest.")
    ] = None,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that the generation before stays for requests under way.")
    ] = 5.0,
) -> None:
    """Write what the logs tell of users, items and keys into an online store, as a new generation.

    Readers take it once it is whole. Killed and run again it goes on.
    """
    from ingest.errors import IngestError
    from pipeline.online.materialize import materialize as write
    from schema.loading import SpecError, load_spec
    from serving.store.address import shown
    from serving.store.opening import open_store
    from serving.store.protocol import StoreError

    start = time.monotonic()
    try:
        last = None if until is None else date.fromisoformat(until)
    except ValueError:
        raise fail(f"--until {until}: expected a day such as 2026-11-25", 2) from None
    try:
        declared = load_spec(spec)
        opened = open_store(store, timeout_seconds=60, create=True)
        with rates(errors, {"read": "rows", "write": "values"}) as progress:
            done = write(declared, logs, str(output), opened, last, grace, progress)
        opened.close()
    except (SpecError, IngestError) as error:
        raise fail(error, 2) from None
    except StoreError as error:
        raise fail(error, 1) from None
    generation, seconds = done.generation, time.monotonic() - start
    if done.was_current:
        console.print(f"{shown(store)} has generation {generation.name} of these logs already", highlight=False)
        return
    values = sum(number for kind, number in generation.counts.items() if not kind.endswith("bytes"))
    left_out = f", {done.bad:,} rows left out" if done.bad else ""
    left_out += f", {done.too_long:,} values left out whose keys are too long" if done.too_long else ""
    console.print(
        f"generation {generation.name}, complete until {_day(generation.until)}: {done.rows:,} rows of the log, "
        f"{values:,} values of {generation.counts.get('bytes', 0) / 1e6:,.1f} MB in {seconds:,.1f} s "
        f"({done.rows / seconds:,.0f} rows a second){left_out}",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def update(
    spec: SpecPath,
    store: StoreUrl,
    stream: Annotated[
        str | None,
        typer.Option(help="The stream's name: its position is stored, and what was counted isn't counted again."),
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(min=0, help="The position in the stream of the first line, as of `kcat -o`; by default 0, once."),
    ] = None,
    day: Annotated[
        str | None,
        typer.Option(help="The daily folder that the events will be logged under; by default today's."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="Events that are counted at once.")] = 2_000,
    quarantine: Annotated[
        Path | None, typer.Option(help="A file to which events that can't be used are added, with the reason.")
    ] = None,
    progress_seconds: Annotated[
        float, typer.Option(min=0.01, help="How often a line says how far it is, and how far behind the events.")
    ] = 10.0,
) -> None:
    """Count events of standard input into an online store: JSON by the log's columns, a line each.

    From Kafka: kcat -C -b BROKER -t TOPIC -p 0 -o N | fulcrum update SPEC --store URL --stream TOPIC-0 --first N
    """
    from pipeline.online.updater import Updater
    from schema.loading import SpecError, load_spec
    from serving.store.opening import open_store
    from serving.store.protocol import StoreError

    try:
        number = None if day is None else (date.fromisoformat(day) - date(1970, 1, 1)).days
    except ValueError:
        raise fail(f"--day {day}: expected a day such as 2026-11-25", 2) from None
    tally, position = _Tally(progress_seconds), first or 0
    try:
        declared = load_spec(spec)
        opened = open_store(store, timeout_seconds=30)
        updater = Updater(declared, opened)
        counted = updater.position(stream) if stream else 0
        if counted and first is None:
            raise fail(
                f"--stream {stream}: {counted:,} events of it have been counted, expected --first beside it: {counted} "
                "where the input goes on there, or the position of its first line; what was counted is left out then",
                2,
            )
        for lines in _batches(sys.stdin.fileno(), batch):
            done = updater.update(lines, stream, position if stream else None, number, partial(_keep, quarantine))
            position += len(lines)
            tally.add(done)
        opened.close()
    except SpecError as error:
        raise fail(error, 2) from None
    except (StoreError, OSError) as error:
        raise fail(f"{error}; {tally.counts['counted']:,} events were counted before", 1) from None
    console.print(tally.line(), highlight=False, soft_wrap=True)
    for reason, times in tally.reasons.most_common(5):
        console.print(f"left out {times:,} times: {reason}", markup=False, highlight=False, soft_wrap=True)


class _Tally:
    """What has become of the events so far; a stream has no end, so that it is told in between."""

    def __init__(self, every_seconds: float):
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._lag: float | None = None
        self._every, self._start = every_seconds, time.monotonic()
        self._told = self._start

    def add(self, done: "Updated") -> None:
        """Adds a batch, and prints how far it is where it is time."""
        rejected = {"rejected": len(done.rejected), "unused": done.unused, "settled": done.settled}
        self.counts.update({"counted": done.counted, "repeated": done.repeated, **rejected})
        self.reasons.update(bad.kind for bad in done.rejected)
        self._lag = self._lag if done.lag_seconds is None else done.lag_seconds
        if time.monotonic() - self._told >= self._every:
            self._told = time.monotonic()
            errors.print(self.line(), highlight=False, soft_wrap=True)

    def line(self) -> str:
        """Returns the counts, the rate, and how long ago the latest event was."""
        seconds = time.monotonic() - self._start
        rate = self.counts["counted"] / seconds
        latest = "" if self._lag is None else f", the latest of {_duration(self._lag)} ago"
        others = "".join(f", {self.counts[name]:,} {words}" for name, words in _OUTCOMES.items() if self.counts[name])
        return f"{self.counts['counted']:,} events counted in {seconds:,.1f} s ({rate:,.0f} a second){latest}{others}"


def _batches(descriptor: int, most: int) -> Iterator[list[bytes]]:
    """Yields the lines of a file or a pipe, as many as there are at once; few of them wait for more for a second."""
    lines: list[bytes] = []
    rest, oldest = b"", time.monotonic()
    while True:
        ready, _, _ = select.select([descriptor], [], [], _PATIENCE_SECONDS)
        chunk = os.read(descriptor, 1 << 20) if ready else None
        if chunk:
            oldest = oldest if lines else time.monotonic()
            *complete, rest = (rest + chunk).split(b"\n")
            lines += complete
        elif chunk == b"" and rest:
            lines.append(rest)
        while len(lines) >= most:
            yield lines[:most]
            lines = lines[most:]
        if lines and (chunk == b"" or time.monotonic() - oldest >= _PATIENCE_SECONDS):
            yield lines
            lines = []
        if chunk == b"":
            return


def _keep(quarantine: Path | None, rejected: "Sequence[BadRow]") -> None:
    if quarantine is None or not rejected:
        return
    with quarantine.open("a") as file:
        for bad in rejected:
            record = {"row": bad.row, "reason": bad.reason, "text": bad.text}
            file.write(json.dumps(record) + "\n")


def is_store(text: str) -> bool:
    """Returns whether a text is the address of a store, and not a folder."""
    return _STORE.match(text) is not None


def show_store(url: str) -> None:
    """Prints what a store holds of each definition."""
    from serving.store.opening import open_store
    from serving.store.protocol import StoreError

    try:
        opened = open_store(url)
        table = _store_table(opened)
        opened.close()
    except StoreError as error:
        raise fail(error, 2) from None
    console.print(table)


def _store_table(store: "OnlineStore") -> Table:
    from pipeline.online import generations
    from pipeline.online.generations import Updates

    table = Table()
    for heading in ("definition", "generation", "complete until", "age", "values", "MB", "events since", "lag"):
        table.add_column(heading)
    for digest, name in sorted(generations.definitions(store).items(), key=lambda pair: pair[::-1]):
        generation = generations.current(store, digest)
        if generation is None:
            continue
        updates = Updates.from_json(store.mark(generations.updates_mark(digest)))
        counts, lag = generation.counts, updates.lag_seconds(time.time())
        names = {generations.USER: "(users)", generations.ITEM: "(items)"}
        values = {names.get(kind, kind): number for kind, number in counts.items() if not kind.endswith("bytes")}
        table.add_row(
            f"{name} ({digest})",
            generation.name,
            _day(generation.until),
            _duration(time.time() - generation.made),
            "\n".join(f"{kind} {number:,}" for kind, number in values.items()),
            f"{counts.get('bytes', 0) / 1e6:,.1f}",
            f"{updates.batches:,} batches" + "".join(f"\n{_day(day)}" for day in updates.days),
            "no events" if lag is None else _duration(lag),
        )
    return table


def _day(number: int) -> str:
    return str(date.fromordinal(date(1970, 1, 1).toordinal() + number))


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
