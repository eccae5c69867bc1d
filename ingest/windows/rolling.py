"""What a rolling window adds to ingest: rows that know their day, a day's own tables, and what the days carry on."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.errors import IngestError
from ingest.examples import Lookup
from ingest.sources import SourceFile, open_raw
from ingest.statistics.answers import definitions
from ingest.statistics.state import home_of as statistic_home
from ingest.windows.carried import carried
from ingest.windows.snapshots import Snapshot, home_of, latest_valid, planned
from ingest.windows.window import DailyLogs, Window, daily_logs, day_number, earliest, window_files
from schema.spec import RankingSpec

_progress = logging.getLogger("fulcrum.progress")

DAY = "day"
# The day of rows that were carried on from earlier days.
_EARLIER = -1
# The source of the state of a statistic.
_STATISTIC = "statistic-{}"


@dataclass(frozen=True)
class Carried:
    """What was known at the window's start, and the snapshot of the next window's start."""

    earlier: Snapshot | None
    snapshot: Snapshot


@dataclass(frozen=True)
class Rolling:
    """A window, what was known at its start, and the snapshot of the next window's start, which it makes.

    `statistics` is the same for each of the spec's statistics: it may begin with earlier days than the rows do.
    """

    window: Window
    earlier: Snapshot | None
    snapshot: Snapshot
    statistics: tuple[Carried, ...] = ()

    def has(self, day: date | None) -> bool:
        """Returns whether impressions of the day's folder become examples."""
        return day is not None and self.window.first <= day <= self.window.last

    def examples(self, days: np.ndarray) -> np.ndarray:
        return days >= day_number(self.window.first)

    def part(self, spec: RankingSpec, rows: pa.Table) -> bytes | None:
        """Returns the snapshot's share of some users, as a Parquet file; None where nothing is to be carried on."""
        upto = rows[DAY].to_numpy() < day_number(self.snapshot.day)
        carried_rows = carried(spec, rows.filter(pa.array(upto)), earliest(spec, self.snapshot.day))
        if carried_rows.num_rows == 0:
            return None
        sink = pa.BufferOutputStream()
        pq.write_table(carried_rows, sink, compression="zstd")
        return sink.getvalue().to_pybytes()


def plan(spec: RankingSpec, logs: str, state: str, window: Window) -> tuple[Rolling, tuple[SourceFile, ...]]:
    """Lists what a run of the window reads: what earlier days carried on, days since, the window, and the tables.

    Where nothing was carried on, or the logs of those days have changed, it is all days from the first one on.

    Raises:
      IngestError: as `window_files`.
    """
    daily = daily_logs(spec, logs)
    homes = (home_of(spec, state), *(statistic_home(spec, state, definition) for definition in definitions(spec)))
    earlier = [latest_valid(home, window.first, daily) for home in homes]
    since = [_read_from(snapshot, window, daily) for snapshot in earlier]
    if min(since) < window.first:
        # It costs time, and where older logs are gone sequences begin here.
        _progress.warning(
            "reading the logs from %s on: no run has carried on what was known on %s", min(since), window.first
        )
    # Keys may be features of the tables of all days that are read.
    tables = min(since) if spec.statistics else None
    files = window_files(spec, logs, window, daily, since=min(since), tables_since=tables)
    day = window.first + timedelta(days=1)
    snapshots = [planned(home, day, then, daily, files) for home, then in zip(homes, earlier, strict=True)]
    carried_on = [file for then in earlier[:1] if then for file in then.files]
    for number, then in enumerate(earlier[1:]):
        if then:
            carried_on += [replace(file, source=_STATISTIC.format(number)) for file in then.files]
    statistics = tuple(Carried(*pair) for pair in zip(earlier[1:], snapshots[1:], strict=True))
    return Rolling(window, earlier[0], snapshots[0], statistics), (*carried_on, *files)


def _read_from(earlier: Snapshot | None, window: Window, daily: DailyLogs) -> date:
    return earlier.day if earlier else min(window.first, *daily)


def number_of_statistic(spec: RankingSpec, file: SourceFile) -> int | None:
    """Returns which statistic's state a file is a part of; None if it is another file."""
    numbers = {_STATISTIC.format(number): number for number in range(len(definitions(spec)))}
    return numbers.get(file.source)


def read_part(path: str) -> pa.Table:
    """Reads a part of a snapshot.

    Raises:
      IngestError: it can't be read.
    """
    try:
        with open_raw(path) as stream:
            return pq.read_table(pa.BufferReader(stream.read()))
    except (OSError, pa.ArrowInvalid) as error:
        raise IngestError(f"{path}: what earlier days carried on can't be read: {error}") from None


def with_day(table: pa.Table, file: SourceFile) -> pa.Table:
    """Returns the rows of a daily file, or of a snapshot, with their day as a column."""
    if file.day is None and file.source != "history":
        return table
    day = day_number(file.day) if file.day else _EARLIER
    return table.append_column(DAY, pa.array(np.full(table.num_rows, day, np.int32)))


def lookup_by_day(spec: RankingSpec, source: str, table: pa.Table | None) -> Callable[[int], Lookup]:
    """Returns the lookup of each day: that of the day's own table, or of the one table that holds for all days."""
    if table is None or DAY not in table.column_names:
        always = Lookup.of(spec, source, table)
        return lambda day: always
    days = table[DAY].to_numpy()
    lookups = {int(day): Lookup.of(spec, source, table.filter(pa.array(days == day))) for day in np.unique(days)}
    empty = Lookup.of(spec, source, None)
    return lambda day: lookups.get(day, empty)
