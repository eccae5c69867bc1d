"""Sorts the rows of a generation by buckets of users, on disk: the first half of `materialize`."""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from ingest.chunk_files import data_of
from ingest.chunks import Chunk, by_source, unpacked
from ingest.errors import IngestError
from ingest.findings import Findings, judge
from ingest.graph import ReadRows
from ingest.sources import BYTES_PER_SHARD, SourceFile, plain_bytes
from ingest.statistics.graph import key_buckets
from ingest.time_split import TimeCounts
from ingest.windows.window import day_number
from pipeline.online.plan import Plan, days_of
from pipeline.online.spill import Spill, finished, read_chunks

# More of them cut what is read at once into too few rows a bucket.
_MOST_BUCKETS = 2_048


@dataclass(frozen=True)
class SortedRows:
    """The rows of a generation by bucket.

    Attributes:
      buckets: how many buckets of users there are.
      rows, bad: of the log, read and left out.
      last_day: the latest day among the rows that go in.
      latest: the ticks of the last of these.
      files: a digest of the list of files that the rows were read from.
      token: of this sorting alone: what was made of other sorted rows doesn't go with these.
    """

    folder: Path
    buckets: int
    rows: int
    bad: int
    last_day: int
    latest: int
    files: str = ""
    token: str = ""

    def users(self, bucket: int) -> dict[str, list[Chunk]]:
        """Returns the chunks of a bucket of users by source."""
        return by_source(read_chunks(self.folder / "users", bucket))

    def items(self) -> pa.Table | None:
        """Returns the rows of the items table."""
        return unpacked(read_chunks(self.folder / "items", 0))

    def states(self, number: int) -> list[bytes]:
        """Returns what earlier days have carried on of a bucket of a statistic's keys (`ingest.statistics.graph`)."""
        return [data_of(chunk[3]) for chunk in read_chunks(self.folder / "states", number)]


def sort_rows(plan: Plan, folder: Path, statistics: int, progress: Callable[[int, int, int], None]) -> SortedRows:
    """Reads what goes into a generation, or finds it read by a run that was killed.

    Args:
      statistics: how many there are.
      progress: called with bytes read and in total, and the rows of the log so far.

    Raises:
      IngestError: a file can't be read, or too many of its rows can't be used.
      OSError: the folder can't be written.
    """
    note = finished(folder / "states")
    if note is not None:
        sorted_rows = SortedRows(folder, **json.loads(note))
        if sorted_rows.files == _digest(plan.files):
            return sorted_rows
    reader = _Reader(plan, folder, bucket_count(plan.files), statistics)
    total, done = sum(file.size for file in plan.files), 0
    progress(done, total, 0)
    for file in plan.files:
        for output in reader.read.process(file):
            reader.take(output)
            progress(done, total, reader.rows)
        done += file.size
        progress(done, total, reader.rows)
    return reader.finish()


def bucket_count(files: Iterable[SourceFile]) -> int:
    """Returns how many buckets the users are spread over, so that one holds about as much however many users there are.

    A day's log is little beside what the days before have carried on of everybody.
    """
    total = sum(plain_bytes(file) for file in files if file.source != "items")
    return min(max(1, -(-total // BYTES_PER_SHARD)), _MOST_BUCKETS)


def _digest(files: Iterable[SourceFile]) -> str:
    return hashlib.sha256(repr(tuple(files)).encode()).hexdigest()


class _Reader:
    """Takes what `ReadRows` yields, each to its place."""

    def __init__(self, plan: Plan, folder: Path, buckets: int, statistics: int):
        self._plan, self._folder, self._buckets = plan, folder, buckets
        rolling = plan.rolling if plan.is_daily else None
        self.read = ReadRows(plan.spec.to_json(), buckets, str(folder / "quarantine"), rolling)
        # First: it has the note that says that all are whole.
        self._states = Spill(folder / "states", max(1, statistics * key_buckets(buckets)))
        self._users = Spill(folder / "users", buckets)
        self._items = Spill(folder / "items", 1)
        self._findings = Findings()
        self._last_day, self._latest = 0, 0
        self.rows = 0

    def take(self, output: Any) -> None:
        if not isinstance(output, TaggedOutput):
            bucket, chunk = output
            self._users.add(bucket, chunk)
            if chunk[0] == "log":
                self._look_at(pa.ipc.open_stream(chunk[3]).read_all()["time"].to_numpy())
        elif output.tag == "items":
            self._items.add(0, output.value)
        elif output.tag == "parts":
            number, (source, index, data) = output.value
            self._states.add(number, (source, index, 0, data))
        elif output.tag == "findings":
            self._findings.add(output.value)

    def _look_at(self, time: np.ndarray) -> None:
        self.rows += len(time)
        days = days_of(self._plan.spec, time)
        if self._plan.until is not None and not self._plan.is_daily:
            time = time[days <= day_number(self._plan.until)]
        if len(time):
            self._latest = max(self._latest, int(time.max()))
            self._last_day = max(self._last_day, int(days_of(self._plan.spec, time.max()[None])[0]))

    def finish(self) -> SortedRows:
        counts = self._findings.counts
        # Any times will do: nothing is split here.
        verdict = judge(self._plan.spec, self._findings, TimeCounts.of(np.arange(100)))
        if verdict.problems:
            raise IngestError("\n".join(verdict.problems))
        bad = sum(count for key, count in counts.items() if key[:2] == ("bad", "log"))
        sorted_rows = SortedRows(
            self._folder,
            self._buckets,
            counts["rows", "log"],
            bad,
            self._last_day,
            self._latest,
            _digest(self._plan.files),
            uuid.uuid4().hex,
        )
        note = {name: value for name, value in asdict(sorted_rows).items() if name != "folder"}
        self._users.finish()
        self._items.finish()
        self._states.finish(json.dumps(note).encode())
        return sorted_rows
