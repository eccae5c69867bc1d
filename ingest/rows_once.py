"""The Beam step that leaves out rows which stand in the logs twice, and the times that splits are cut by.

Without `log.duplicates` there is no such step: rows go on as they were read.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from ingest.chunk_files import ChunkFiles
from ingest.chunks import Chunk, by_source, packed, unpacked
from ingest.duplicates import EqualRow, without_duplicates
from ingest.findings import Findings
from ingest.ripeness import Span
from ingest.time_split import TimeCounts, split_keys
from ingest.timeline import rank_encode
from ingest.windows.rolling import DAY, Rolling
from ingest.windows.window import day_number
from schema.spec import RankingSpec


@dataclass(frozen=True)
class RowsOnce:
    """The rows that count, by bucket; the times of their impressions; what has been found."""

    rows: beam.PCollection
    times: beam.PCollection
    findings: beam.PCollection


def rows_once(spec: RankingSpec, read: Any, rolling: Rolling | None, chunk_folder: str | None) -> RowsOnce:
    """Returns what was read; where the spec asks, without the rows that are equal to one before them."""
    if spec.log.duplicates == "keep":
        return RowsOnce(read.rows, read.times, read.findings)
    compared = (
        read.rows
        | "GroupToCompare" >> beam.GroupByKey()
        | "DropDuplicates"
        >> beam.ParDo(DropDuplicates(spec.to_json(), rolling, chunk_folder)).with_outputs(
            "times", "findings", main="rows"
        )
    )
    findings = (read.findings, compared.findings) | "WithDuplicates" >> beam.Flatten()
    return RowsOnce(compared.rows, compared.times, findings)


class DropDuplicates(beam.DoFn):
    """A bucket's chunks -> `(bucket, Chunk)` without rows that are equal to one before; tagged: `times`, `findings`."""

    def __init__(self, spec: str, rolling: Rolling | None, chunk_folder: str | None):
        self._spec, self._rolling, self._files = spec, rolling, ChunkFiles(chunk_folder)

    def teardown(self) -> None:
        self._files.close()

    def process(self, element: tuple[int, Iterable[Chunk]]) -> Iterator[Any]:
        bucket, chunks = element
        spec, findings = RankingSpec.from_json(self._spec), Findings()
        sources = by_source(chunks)
        log, history = unpacked(sources.pop("log", [])), unpacked(sources.get("history", []))
        for untouched in sources.values():
            yield from ((bucket, chunk) for chunk in untouched)
        if log is None:
            return
        rows, equal_rows = without_repeats(log, history, self._rolling)
        findings.count_duplicates(equal_rows)
        yield bucket, ("log", 0, 0, self._files.put(packed(rows)))
        yield TaggedOutput("times", times_of_examples(spec, rows, self._rolling))
        yield TaggedOutput("findings", findings)


def without_repeats(
    log: pa.Table, history: pa.Table | None, rolling: Rolling | None
) -> tuple[pa.Table, list[EqualRow]]:
    """Returns a bucket's rows without those that are equal to one before, in the logs or carried on; and these."""
    new = None
    if rolling and rolling.earlier:
        # Statistics may have read days again whose rows were carried on, too.
        new = log[DAY].to_numpy() >= day_number(rolling.earlier.day)
    return without_duplicates(log, history, new)


def times_of_examples(spec: RankingSpec, rows: pa.Table, rolling: Rolling | None) -> TimeCounts:
    """Counts what splits are cut by, of the rows of the log that become examples."""
    opens = _opens_examples(spec, rows, rolling)
    users, user = rank_encode(rows["user"]) if spec.split.by == "user" else (None, None)
    return TimeCounts.of(split_keys(spec.split, users, user, rows["time"].to_numpy())[opens])


def span_of_rows(spec: RankingSpec, rows: pa.Table, rolling: Rolling | None) -> Span | None:
    """Returns from when on rows of the log, or carried on, are examples, and when they end."""
    time = rows["time"].to_numpy()
    return Span.of(time[_opens_examples(spec, rows, rolling)], time)


def _opens_examples(spec: RankingSpec, rows: pa.Table, rolling: Rolling | None) -> np.ndarray:
    opens = np.ones(rows.num_rows, bool)
    if spec.log.layout == "events":
        opens = rows["event"].to_numpy() == 0
    return opens & rolling.examples(rows[DAY].to_numpy()) if rolling else opens
