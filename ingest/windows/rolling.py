"""What a rolling window adds to ingest: rows that know their day, a day's own tables, and what the days carry on."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.errors import IngestError
from ingest.examples import Lookup
from ingest.sources import SourceFile, open_raw
from ingest.windows.carried import carried
from ingest.windows.snapshots import Snapshot, latest_valid, planned
from ingest.windows.window import DailyLogs, Window, daily_logs, day_number, earliest, window_files
from schema.spec import RankingSpec

_progress = logging.getLogger("fulcrum.progress")

DAY = "day"
# The day of rows that were carried on from earlier days.
_EARLIER = -1


@dataclass(frozen=True)
class Rolling:
    """A window, what was known at its start, and the snapshot of the next window's start, which it makes."""

    window: Window
    earlier: Snapshot | None
    snapshot: Snapshot

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
    earlier = latest_valid(spec, state, window.first, daily)
    since = _read_from(earlier, window, daily)
    if since < window.first:
        # It costs time, and where older logs are gone sequences begin here.
        _progress.warning(
            "reading the logs from %s on: no run has carried on what was known on %s", since, window.first
        )
    files = window_files(spec, logs, window, daily, since=since)
    snapshot = planned(spec, state, window.first + timedelta(days=1), earlier, daily, files)
    return Rolling(window, earlier, snapshot), (*(earlier.files if earlier else ()), *files)


def _read_from(earlier: Snapshot | None, window: Window, daily: DailyLogs) -> date:
    return earlier.day if earlier else min(window.first, *daily)


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
