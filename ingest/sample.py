"""A bounded sample of a source's rows, read and typed as ingest does it."""

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from ingest.errors import IngestError
from ingest.formats import BadRow, RawBatch, read_file
from ingest.rows import columns_of, parse, separators_of
from ingest.sources import SourceFile
from ingest.values import Column, Rejects
from ingest.windows.rolling import with_day
from ingest.windows.window import times_of
from schema.spec import RankingSpec, Timestamp

# Values of a batch on which the units of the clock are tried.
_CLOCK_SAMPLE = 1_000


@dataclass
class Sample:
    """The rows read of one source, typed; what could not be read; and what the rows' clock could be."""

    files: int
    rows: int = 0
    complete: bool = True
    tables: list[pa.Table] = field(default_factory=list)
    bad: list[tuple[str, BadRow]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unused: Counter = field(default_factory=Counter)
    # How many of the times tried can be times of a log in each unit.
    clock: Counter = field(default_factory=Counter)
    clock_tried: int = 0

    def table(self) -> pa.Table | None:
        return pa.concat_tables(self.tables) if self.tables else None


def read_sample(spec: RankingSpec, source: str, files: list[SourceFile], limit: int) -> Sample:
    """Reads about `limit` rows of a source, as many of each file; files that can't be read become `problems`."""
    sample = Sample(len(files))
    rows_per_file = max(1, limit // len(files))
    for file in files:
        try:
            left = rows_per_file
            for batch in read_file(file.path, columns_of(spec, source), separators_of(spec, source)):
                if left == 0:
                    sample.complete = False
                    break
                if len(batch.rows) > left:
                    batch, sample.complete = _head(batch, left), False
                left -= len(batch.rows)
                table, bad, unused = parse(spec, source, batch, times_of(spec, file))
                sample.tables.append(with_day(table, file))
                sample.bad += [(batch.file, row) for row in bad]
                sample.rows += len(batch.rows) + len(batch.bad)
                sample.unused.update(unused)
                if source == "log":
                    _try_clocks(spec.log.timestamp.column, batch, sample)
        except IngestError as error:
            sample.problems.append(str(error))
    return sample


def read_last_days(spec: RankingSpec, files: list[SourceFile], most: int) -> tuple[pa.Table | None, int]:
    """Reads the log's last whole days, as many as hold at most `most` rows; without daily folders it is one piece.

    Returns:
      The rows, None if not even the last day fits or a file of it can't be read; and how many days they are.
    """
    files_of_day: dict[object, list[SourceFile]] = {}
    for file in files:
        files_of_day.setdefault(file.day, []).append(file)
    days: list[pa.Table] = []
    for day in sorted(files_of_day, key=str, reverse=True):
        table = _read_whole(spec, files_of_day[day], most - sum(table.num_rows for table in days))
        if table is None:
            break
        days.append(table)
    return pa.concat_tables(reversed(days)) if days else None, len(days)


def _read_whole(spec: RankingSpec, files: list[SourceFile], most: int) -> pa.Table | None:
    """Returns all rows of the log's files; None where they are more than `most`, or a file can't be read."""
    tables, rows = [], 0
    try:
        for file in files:
            for batch in read_file(file.path, columns_of(spec, "log"), separators_of(spec, "log")):
                rows += len(batch.rows)
                if rows > most:
                    return None
                tables.append(with_day(parse(spec, "log", batch, times_of(spec, file))[0], file))
    except IngestError:
        return None
    return pa.concat_tables(tables) if tables else None


def _head(batch: RawBatch, rows: int) -> RawBatch:
    upto = batch.rows[rows - 1]
    columns = {name: array.slice(0, rows) for name, array in batch.columns.items()}
    return RawBatch(batch.file, batch.rows[:rows], columns, [bad for bad in batch.bad if bad.row <= upto])


def _try_clocks(column: str, batch: RawBatch, sample: Sample) -> None:
    values = batch.columns[column].slice(0, _CLOCK_SAMPLE)
    sample.clock_tried += len(values)
    for unit in ("s", "ms", "us", "iso"):
        rejects = Rejects(len(values))
        Column(column, values, rejects).times(Timestamp(column=column, unit=unit))
        sample.clock[unit] += int((~rejects.mask).sum())
