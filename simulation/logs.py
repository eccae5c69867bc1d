"""Simulated short-video logs on disk, one impression a row, with known ground truth and tasks in real tension."""

import gzip
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simulation.responses import EFFECTS, INTERCEPT, OWN_LIFT
from simulation.traffic import Traffic
from simulation.world import (
    AGE_BANDS,
    CATEGORIES,
    COUNTRIES,
    DEVICES,
    NETWORKS,
    RESPONSES,
    START,
    TABS,
    Columns,
    Ints,
    World,
    make_world,
)

# No value has a comma or a quote.
_PLAIN_CSV = pa.csv.WriteOptions(include_header=False, quoting_style="none")
# The file that says what was simulated.
PARAMETERS = "parameters.json"
_ROW_GROUP = 1_048_576
_TRUTH = pa.schema(
    [("timestamp", pa.int64()), ("user_id", pa.string()), ("video_id", pa.string())]
    + [(name, pa.float64()) for name in ("clicked", "view_through", "completion", "like", "share", "comment")]
)


@dataclass(frozen=True)
class Simulated:
    """What was written: counts, and the mean of each kind of feedback.

    `play` and `view_through` are means of the impressions, the others of the plays.
    """

    folder: Path
    impressions: int
    users: int
    items: int
    files: int
    rates: dict[str, float]


def simulate(
    out_dir: str | Path,
    users: int,
    impressions: int,
    seed: int,
    days: int = 14,
    items: int | None = None,
    daily: bool = False,
    task_interests: float = 0.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Simulated:
    """Writes `impressions-<day>.csv.gz`, `users.csv`, `items.csv`, `truth.parquet` and `parameters.json` to `out_dir`.

    The same arguments write the same bytes. `truth.parquet` has, for each impression in the order of the logs, the
    probability of each binary task and the expected completion: what a perfect model would say. An hour's rows, and of
    the truth as many as a row group takes, are in memory at once.

    Args:
      users, items: how many there are; not every one of them occurs in the log. By default an item per 80 impressions.
      impressions: rows of the log, exactly.
      days: whole days from 2026-01-01 UTC on that the log covers, one file each.
      daily: whether each day's file lies in a folder of its day, as logs that come in daily do.
      task_interests: how far each task follows interests of its own, from 0 to 1 (`simulation.responses`).
      progress: called after each day with impressions done and in total.

    Raises:
      ValueError: a count below 1, or `task_interests` outside 0 to 1.
    """
    items = max(50, impressions // 80) if items is None else items
    for name, count in {"users": users, "impressions": impressions, "days": days, "items": items}.items():
        if count < 1:
            raise ValueError(f"{name}: expected at least 1, got {count}")
    if seed < 0:
        raise ValueError(f"seed: expected at least 0, got {seed}")
    if not 0 <= task_interests <= 1:
        raise ValueError(f"task interests: expected a number from 0 to 1, got {task_interests}")
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    # Written last: a folder without parameters has no whole logs.
    (folder / PARAMETERS).unlink(missing_ok=True)
    for stale in (*folder.glob("impressions-*.csv.gz"), *folder.glob("????-??-??/impressions-*.csv.gz")):
        stale.unlink()
    world = make_world(seed, users, items, days, task_interests)
    _write_tables(folder, world)
    hours = Traffic(world, seed, impressions, days).hours()
    totals: Counter[str] = Counter()
    completed = 0.0
    with _replacing(folder / "truth.parquet") as stream, pq.ParquetWriter(stream, _TRUTH) as writer:
        for day in range(days):
            date = (START + timedelta(days=day)).date().isoformat()
            day_folder = folder / date if daily else folder
            day_folder.mkdir(exist_ok=True)
            with _replacing(day_folder / f"impressions-{date}.csv.gz") as file, _gzip(file) as compressed:
                counts, completions = _write_day(itertools.islice(hours, 24), compressed, writer)
            totals.update(counts)
            completed += completions
            progress(totals["impressions"], impressions)
    sums = totals | {"completion": completed}
    rates = {
        name: sums[name] / max(1, sums["impressions" if name in ("play", "view_through") else "play"])
        for name in ("play", "view_through", "completion", "like", "share", "comment")
    }
    arguments: dict[str, float] = {
        "users": users,
        "impressions": impressions,
        "seed": seed,
        "days": days,
        "items": items,
    }
    parameters = {"rates": rates, "responses": RESPONSES, "intercept": INTERCEPT, "effects": EFFECTS}
    if task_interests:
        arguments["task_interests"] = task_interests
        parameters["own_lift"] = OWN_LIFT
    with _replacing(folder / PARAMETERS) as file:
        file.write(json.dumps({"arguments": arguments} | parameters, indent=2).encode())
    return Simulated(folder, impressions, users, items, days, rates)


def _write_day(
    hours: Iterator[tuple[Columns, Columns]], file: IO[bytes], writer: pq.ParquetWriter
) -> tuple[Counter[str], float]:
    """Writes a day's log to `file` and its truth by `writer`; returns the counts and the sum of the completions."""
    truths = _RowGroups(writer)
    counts: Counter[str] = Counter()
    completions = []
    for hour, (log, truth) in enumerate(hours):
        table = log_table(log)
        if hour == 0:
            _write_header(table.column_names, file)
        _write_rows(table, file)
        truths.write(pa.table(_keys(log) | truth, _TRUTH))
        counts.update(_feedback(log))
        completions.append(np.minimum(log["play_ms"] / log["duration_ms"], 1))
    truths.close()
    # The last digit of a sum depends on how its terms are grouped: by day.
    return counts, float(np.concatenate(completions).sum())


class _RowGroups:
    """Writes the rows of a day in row groups as large as Parquet's writer takes, however they come in."""

    def __init__(self, writer: pq.ParquetWriter):
        self._writer = writer
        self._waiting: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        """Takes rows, and writes each group that is full."""
        self._waiting.append(table)
        while sum(waiting.num_rows for waiting in self._waiting) >= _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """Writes what is left of the day, of one without rows an empty group."""
        if self._waiting:
            self._flush()

    def _flush(self) -> None:
        # A column in pieces would be cut into other pages.
        rows = pa.concat_tables(self._waiting).combine_chunks()
        self._writer.write_table(rows.slice(0, _ROW_GROUP), _ROW_GROUP)
        left = rows.slice(_ROW_GROUP)
        self._waiting = [left] if left.num_rows else []


def log_table(log: Columns) -> pa.Table:
    """Returns the columns of the log's files, as they are typed there."""
    columns = {
        **_keys(log),
        "tab": _named(TABS, log["tab"]),
        "network": _named(NETWORKS, log["network"], log["network"] < 0),
        "play_ms": log["play_ms"],
        "duration_ms": log["duration_ms"],
    }
    return pa.table(columns | {name: log[name].astype(np.int8) for name in ("clicked", "like", "share", "comment")})


def _keys(log: Columns) -> dict[str, Any]:
    return {"timestamp": log["timestamp"], "user_id": _ids("u", log["user"]), "video_id": _ids("v", log["item"])}


def _named(names: tuple[str, ...], index: NDArray, missing: NDArray | None = None) -> pa.Array:
    return pa.array(names).take(pa.array(index, mask=missing))


def _ids(letter: str, index: Ints) -> pa.Array:
    return pa.compute.binary_join_element_wise(letter, pa.array(index).cast(pa.string()), "")


def _feedback(log: Columns) -> dict[str, int]:
    play = log["play_ms"]
    return {
        "impressions": len(play),
        "play": int(log["clicked"].sum()),
        "view_through": int((play >= 3_000).sum()),
        **{name: int(log[name].sum()) for name in ("like", "share", "comment")},
    }


def _write_tables(folder: Path, world: World) -> None:
    user, item = np.arange(len(world.country)), np.arange(len(world.category))
    users = pa.table(
        {
            "user_id": _ids("u", user),
            "country": _named(COUNTRIES, world.country),
            # A few don't tell their age, and a few users are not in the table at all.
            "age_band": _named(AGE_BANDS, world.age, user % 31 == 7),
            "device": _named(DEVICES, world.device),
            "activity": np.round(world.activity, 3),
        }
    ).filter(pa.array(user % 97 != 5))
    items = pa.table(
        {
            "video_id": _ids("v", item),
            "author_id": _ids("a", world.author),
            "category": _named(CATEGORIES, world.category),
            "duration_s": world.duration_s,
            "tags": world.tags,
        }
    )
    for name, table in (("users.csv", users), ("items.csv", items)):
        with _replacing(folder / name) as file:
            _write_csv(table, file)


def _write_csv(table: pa.Table, file: IO[bytes]) -> None:
    _write_header(table.column_names, file)
    _write_rows(table, file)


def _write_header(names: Sequence[str], file: IO[bytes]) -> None:
    # pyarrow always quotes the header.
    file.write((",".join(names) + "\n").encode())


def _write_rows(table: pa.Table, file: IO[bytes]) -> None:
    pa.csv.write_csv(table, file, _PLAIN_CSV)


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yields a file that appears under its name only when it is whole."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _gzip(file: IO[bytes]) -> IO[bytes]:
    """Compresses without a name and a time, which would make equal logs differ."""
    return cast(IO[bytes], gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=4, mtime=0))
