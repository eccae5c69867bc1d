"""Lines of JSON -> the rows of the log that are to be counted, the day of each, and what became of the others."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa

from ingest.duplicates import without_digests
from ingest.json_rows import read_json
from ingest.raw import BadRow, RawBatch
from ingest.rows import NOT_OF_THE_FOLDER, Unused, columns_of, parse, separators_of
from ingest.sources import SourceFile
from ingest.statistics.requests import with_start
from ingest.windows.window import day_of_number, times_of
from pipeline.online.generations import Generation
from pipeline.online.plan import days_of
from schema.spec import RankingSpec

# Before any time of a log.
_EVER = -(1 << 62)


@dataclass(frozen=True)
class Events:
    """What lines hold.

    Attributes:
      rows: those that are to be counted, as `ingest.rows.parse` types them.
      days: int64 [rows], the day (since 1970-01-01) of each.
      rejected: rows that can't be used, with their reasons; `row` is the position in the stream, from 0.
      unused: how many rows the spec leaves out, such as events that it doesn't name.
      settled: how many rows are of days that the generation holds already.
    """

    rows: pa.Table
    days: np.ndarray
    rejected: tuple[BadRow, ...]
    unused: int
    settled: int


def read_events(
    spec: RankingSpec,
    generation: Generation,
    schema: pa.Schema,
    lines: Sequence[bytes],
    begin: int,
    day: int | None,
    now: float,
) -> Events:
    """Returns what lines hold that begin at a position in their stream.

    Args:
      spec: with the precision of the generation.
      schema: of the rows.
      day: see `Updater.update`.
      now: in seconds since 1970.
    """
    if generation.is_daily and day is None:
        day = (datetime.fromtimestamp(now, spec.log.timestamp.zone).date() - day_of_number(0)).days
    between, outside = _times(spec, day if generation.is_daily else None, now)
    columns, separators = columns_of(spec, "log"), separators_of(spec, "log")
    content = b"\n".join(line.strip().replace(b"\n", b" ") for line in lines) + b"\n"
    tables: list[pa.Table] = []
    bad: list[BadRow] = []
    unused = Unused()
    for batch in read_json("events", lambda: io.BytesIO(content), columns, separators, is_stream=True):
        if len(batch.rows) or batch.bad:
            table, rejected, named = parse(spec, "log", _all_columns(batch, columns), between, outside)
            tables.append(without_digests(table))
            bad += rejected
            unused.add(named)
    rows = with_start(spec, pa.concat_tables(tables)) if tables else schema.empty_table()
    rows = rows.cast(schema)
    days = np.full(rows.num_rows, day, np.int64) if day is not None else days_of(spec, rows["time"].to_numpy())
    is_new = days > generation.until
    placed = tuple(replace(row, row=row.row - 1 + begin) for row in sorted(bad, key=lambda row: row.row))
    return Events(
        rows.filter(pa.array(is_new)),
        days[is_new].astype(np.int64),
        placed,
        sum(unused.by_reason().values()),
        int((~is_new).sum()),
    )


def _times(spec: RankingSpec, folder: int | None, now: float) -> tuple[tuple[int, int] | None, str]:
    """Returns the ticks between which an event may lie, and what is said of others."""
    if folder is not None:
        return times_of(spec, SourceFile("log", 0, "", 0, day_of_number(folder))), NOT_OF_THE_FOLDER
    # One clock that is years ahead would be taken for the latest event from then on, and each such day be read.
    latest = now + spec.log.allowed_lateness
    return (_EVER, int(latest * spec.log.timestamp.ticks_per_second) + 1), "lies in the future"


def _all_columns(batch: RawBatch, columns: Mapping[str, str]) -> RawBatch:
    """Returns the batch with the columns that none of its events has, as missing."""
    absent = {name: pa.nulls(len(batch.rows), pa.string()) for name in columns if name not in batch.columns}
    return replace(batch, columns={**batch.columns, **absent})
