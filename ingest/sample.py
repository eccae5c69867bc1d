"""A bounded sample of a source's rows, read and typed as ingest does it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.absent import AbsentColumns
from ingest.duplicates import EqualRow, counts_of, without_duplicates
from ingest.errors import IngestError
from ingest.raw import BadRow, RawBatch
from ingest.rows import Unused, parse, read_source
from ingest.sources import SourceFile
from ingest.times import count_near_zero, times
from ingest.values import Column, Rejects
from ingest.windows.rolling import with_day
from ingest.windows.window import times_of
from schema.clock import Timestamp
from schema.spec import RankingSpec

# Values of a batch on which the units of the clock are tried.
_CLOCK_SAMPLE = 1_000
# From here on a float64 no longer holds every integer; and an integer of as many digits, written as a float.
_EXACT, _LONG_FLOAT = 2.0**53, r"^-?\d{16,300}\.0+$"


@dataclass
class Sample:
    """The rows read of one source, typed; what could not be read; and what the rows' clock could be."""

    files: int
    rows: int = 0
    complete: bool = True
    tables: list[pa.Table] = field(default_factory=list)
    bad: list[tuple[str, BadRow]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unused: Unused = field(default_factory=Unused)
    # How many of the times tried can be times of a log in each unit.
    clock: Counter = field(default_factory=Counter)
    clock_tried: int = 0
    absent: AbsentColumns = field(default_factory=AbsentColumns)
    # Ids by where the spec names their column that were floats too large to hold all their digits.
    rounded: Counter = field(default_factory=Counter)
    # Rows that are left out, or not wanted, because an equal one stands before them.
    equal_rows: list[EqualRow] = field(default_factory=list)
    # Of the bytes of the files, roughly, how much the rows are.
    share: float = 1.0

    def table(self) -> pa.Table | None:
        return pa.concat_tables(self.tables) if self.tables else None


def read_sample(spec: RankingSpec, source: str, files: list[SourceFile], limit: int) -> Sample:
    """Reads at most about `limit` rows of a source, all of them if there are no more, and as many of each file.

    Files that can't be read become `problems`.
    """
    sample = Sample(len(files))
    readings = {file.path: _Reading(spec, file) for file in files}
    # Small files leave what they don't need to the large ones.
    by_size = sorted(files, key=lambda file: (file.size, file.path))
    left = limit
    for index, file in enumerate(by_size):
        left -= readings[file.path].read(max(1, left // (len(files) - index)))
    for file in by_size:
        reading = readings[file.path]
        if left > 0 and not reading.complete:
            again = _Reading(spec, file)
            left += reading.rows - again.read(reading.rows + left)
            readings[file.path] = again
    for file in files:
        readings[file.path].add_to(sample)
    if sample.tables:
        table, sample.equal_rows = without_duplicates(pa.concat_tables(sample.tables))
        sample.tables = [table]
        sample.unused.reasons.update(counts_of(sample.equal_rows))
    sample.share = sum(readings[file.path].share * file.size for file in files) / max(sum(f.size for f in files), 1)
    sample.absent = _all_absent(readings.values())
    if sample.absent.everywhere:
        sample.problems += sample.absent.everywhere
        sample.tables.clear()
    return sample


class _Reading:
    """The first rows of one file, typed, and what was wrong with them."""

    def __init__(self, spec: RankingSpec, file: SourceFile):
        self._spec, self._file = spec, file
        self.rows = 0
        self.complete = True
        self.share = 0.0
        self.absent = AbsentColumns()
        self._sample = Sample(0)

    def read(self, limit: int) -> int:
        """Reads at most `limit` rows and returns how many they are."""
        spec, sample = self._spec, self._sample
        try:
            for batch in read_source(spec, self._file):
                self.absent.add(batch)
                left = limit - self.rows
                if left <= 0 and (len(batch.rows) or batch.bad):
                    self.complete = False
                    break
                count = len(batch.rows) + len(batch.bad)
                if count > left:
                    batch, self.complete = _head(batch, left), False
                self.share += (batch.share - self.share) * min(left / max(count, 1), 1)
                self.rows += len(batch.rows) + len(batch.bad)
                table, bad, unused = parse(spec, self._file.source, batch, times_of(spec, self._file))
                sample.tables.append(with_day(table, self._file))
                sample.bad += [(batch.file, row) for row in bad]
                sample.rows += len(batch.rows) + len(batch.bad)
                sample.unused.add(unused)
                sample.rounded.update(_rounded_ids(spec, self._file.source, batch))
                if self._file.source == "log" and spec.log.timestamp.column:
                    _try_clocks(spec.log.timestamp, batch, sample)
        except IngestError as error:
            sample.problems.append(str(error))
        self.share = 1.0 if self.complete else self.share
        return self.rows

    def add_to(self, sample: Sample) -> None:
        """Adds the rows to those of the source."""
        read = self._sample
        sample.rows += read.rows
        sample.complete &= self.complete
        sample.tables += read.tables
        sample.bad += read.bad
        sample.problems += read.problems
        sample.unused.add(read.unused)
        sample.clock.update(read.clock)
        sample.rounded.update(read.rounded)
        sample.clock_tried += read.clock_tried


def _all_absent(readings: Iterable[_Reading]) -> AbsentColumns:
    total = AbsentColumns()
    for reading in readings:
        total.files |= reading.absent.files
        for column, files in reading.absent.lacking.items():
            total.lacking.setdefault(column, set()).update(files)
            total.sentences.setdefault(column, reading.absent.sentences[column])
    return total


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
    return without_duplicates(pa.concat_tables(reversed(days)))[0] if days else None, len(days)


def _read_whole(spec: RankingSpec, files: list[SourceFile], most: int) -> pa.Table | None:
    """Returns all rows of the log's files; None where they are more than `most`, or a file can't be read."""
    tables, rows = [], 0
    try:
        for file in files:
            for batch in read_source(spec, file):
                rows += len(batch.rows)
                if rows > most:
                    return None
                tables.append(with_day(parse(spec, "log", batch, times_of(spec, file))[0], file))
    except IngestError:
        return None
    return pa.concat_tables(tables) if tables else None


def _head(batch: RawBatch, rows: int) -> RawBatch:
    """Returns the first rows of a batch, the bad ones among them."""
    numbers = np.sort(np.concatenate([batch.rows, [bad.row for bad in batch.bad]]).astype(np.int64))
    upto = numbers[rows - 1]
    count = int((batch.rows <= upto).sum())
    columns = {name: array.slice(0, count) for name, array in batch.columns.items()}
    return replace(batch, rows=batch.rows[:count], columns=columns, bad=[bad for bad in batch.bad if bad.row <= upto])


def _rounded_ids(spec: RankingSpec, source: str, batch: RawBatch) -> Counter:
    """Returns how many ids are floats, or were written as such, from where on a float doesn't hold every integer."""
    if source == "log":
        columns = {"log.user": spec.log.user, "log.item": spec.log.item}
    else:
        columns = {f"{source}.key": getattr(spec, source).key}
    counts: Counter = Counter()
    for where, column in columns.items():
        ids = batch.columns[column]
        if not pa.types.is_floating(ids.type):
            is_text = pa.types.is_string(ids.type) or pa.types.is_binary(ids.type)
            if not (is_text and pc.any(pc.match_substring(ids, ".0")).as_py()):
                continue
            ids = ids.filter(pc.match_substring_regex(ids, _LONG_FLOAT)).cast(pa.string()).cast(pa.float64())
        counts[where] += pc.sum(pc.greater_equal(pc.abs(ids), _EXACT)).as_py() or 0
    return +counts


def _try_clocks(clock: Timestamp, batch: RawBatch, sample: Sample) -> None:
    column = str(clock.column)
    values = batch.columns[column].slice(0, _CLOCK_SAMPLE)
    sample.clock_tried += len(values)
    for unit in ("s", "ms", "us", "ns", "iso"):
        rejects = Rejects(len(values))
        tried = Timestamp(column=column, unit=unit, origin=None if unit == "iso" else clock.origin)
        times(Column(column, values, rejects), tried)
        sample.clock[unit] += int((~rejects.mask).sum())
    if not clock.is_text and clock.origin is None:
        sample.clock["near zero"] += count_near_zero(Column(column, values, Rejects(len(values))), clock)
