"""The Beam graph: files -> typed chunks by bucket of users -> timelines -> examples, a shard a bucket.

Rows pass the shuffle as Arrow chunks keyed by a hash of the user, not one by one; a chunk carries its place in the
logs, so that the result is the same whatever order the runner delivers. What is wrong with the logs travels as data
and stops the run at the end: runners wrap exceptions, and what has been found wrong should be reported whole.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import orjson
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.pvalue import AsList, AsSingleton, TaggedOutput
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from ingest.absent import AbsentColumns
from ingest.chunk_files import ChunkFiles
from ingest.chunks import Chunk, bucket_of, by_source, packed, unpacked
from ingest.encoding.tf_example import serialized, text_elements
from ingest.encoding.tfrecord import gzipped, write_whole
from ingest.errors import IngestError, LostRowsError
from ingest.examples import ExampleBuilder, Lookup, slices
from ingest.findings import SUMMARY, Findings, MergeFindings, Verdict, judge, summary
from ingest.raw import BadRow
from ingest.ripeness import mask_unripe
from ingest.rows import parse, read_source
from ingest.rows_once import rows_once, span_of_rows, times_of_examples
from ingest.sources import SourceFile, refuse_changed, shard_count
from ingest.statistics.answers import definitions, shared
from ingest.statistics.bucket import BucketRows, BucketStatistics, answered, shared_vectors
from ingest.statistics.graph import AnswerAsks, TileRows, state_chunks
from ingest.statistics.vectors import Vectors
from ingest.time_split import SPLITS, CountTimes, TimeCounts, split_keys, split_of
from ingest.timeline import Timelines, join
from ingest.windows.rolling import DAY, Rolling, lookup_by_day, number_of_statistic, read_part, with_day
from ingest.windows.snapshots import part_name, scratch_of
from ingest.windows.window import day_of_number, times_of
from schema.columns import label_name, space_name
from schema.spec import RankingSpec

SCRATCH = "_scratch"
_LONGEST_TEXT = 500


def ingest(
    pipeline: beam.Pipeline,
    spec: RankingSpec,
    files: tuple[SourceFile, ...],
    examples: str,
    quarantine: str,
    shards: int | None = None,
    rolling: Rolling | None = None,
) -> None:
    """Adds to `pipeline` all that turns `files` into examples.

    Args:
      examples: the folder that gets `Split-<split>/data_tfrecord-…gz`; its `_scratch` holds unfinished files.
      quarantine: the folder that gets `rejected-…jsonl` of the rows left out, and `summary.json`, whose `problems` say
        what makes the examples unfit for use.
      shards: the number of buckets of users; None goes by the size of the files.
      rolling: the files are daily ones, and only those days become examples; the snapshot's parts are written.
    """
    text, shards = spec.to_json(), shards or shard_count(files)
    scratch = FileSystems.join(examples, SCRATCH)
    chunk_folder = _chunk_folder(pipeline, scratch)
    read = (
        pipeline
        | "Files" >> beam.Create(list(files))
        | "Spread" >> beam.Reshuffle()
        | "Read"
        >> beam.ParDo(ReadRows(text, shards, quarantine, rolling, chunk_folder)).with_outputs(
            "items", "times", "findings", "parts", main="rows"
        )
    )
    once = rows_once(spec, read, rolling, chunk_folder)
    read_findings = once.findings | "SumRead" >> beam.CombineGlobally(MergeFindings())
    times = once.times | "CountTimes" >> beam.CombineGlobally(CountTimes())
    verdict = AsSingleton(read_findings | "Judge" >> beam.Map(_judge, text, AsSingleton(times)))
    items, path = AsList(read["items"]), FileSystems.join(quarantine, SUMMARY)
    rows, findings = once.rows, [read_findings]
    if shared(spec):
        tiled = (
            once.rows
            | "GroupToTile" >> beam.GroupByKey()
            | "Tile"
            >> beam.ParDo(TileRows(text, shards, rolling, chunk_folder), verdict, items).with_outputs(
                "parts", main="places"
            )
        )
        answers = (
            (tiled.parts, read.parts)
            | "AllParts" >> beam.Flatten()
            | "GroupByKeys" >> beam.GroupByKey()
            | "Answer"
            >> beam.ParDo(AnswerAsks(text, shards, rolling, chunk_folder)).with_outputs("findings", main="answers")
        )
        # For Java's fuser: steps that hang on side inputs don't meet those that don't in a Flatten without a shuffle.
        places = tiled.places | "SpreadPlaces" >> beam.Reshuffle()
        vectors = answers.answers | "SpreadAnswers" >> beam.Reshuffle()
        rows = (once.rows, places, vectors) | "WithAnswers" >> beam.Flatten()
        findings.append(answers.findings | "SumAnswered" >> beam.CombineGlobally(MergeFindings()))
    written = (
        rows
        | "GroupByUser" >> beam.GroupByKey()
        | "JoinAndWrite" >> beam.ParDo(JoinAndWrite(text, shards, examples, rolling), verdict, items)
    )
    # The earlier findings come as side inputs and not by a Flatten: what JoinAndWrite gives hangs on them by its own
    # side input, and Java's fuser, which Flink and Spark plan by, then loses one of the two.
    (
        written
        | "SumWritten" >> beam.CombineGlobally(MergeFindings())
        | "Summarize" >> beam.Map(_write_summary, text, path, scratch, verdict, *map(AsSingleton, findings))
    )


def _chunk_folder(pipeline: beam.Pipeline, scratch: str) -> str | None:
    """Returns where chunks lie where Beam runs on this machine alone, in memory; a cluster's shuffles have disks."""
    is_here = isinstance(pipeline.runner, FnApiRunner) and "://" not in scratch
    return f"{scratch}/chunks" if is_here else None


def _judge(findings: Findings, spec: str, times: TimeCounts) -> Verdict:
    return judge(RankingSpec.from_json(spec), findings, times)


def _write_summary(written: Findings, spec: str, path: str, scratch: str, verdict: Verdict, *earlier: Findings) -> None:
    total = Findings()
    for findings in (*earlier, written):
        total.add(findings)
    content = summary(RankingSpec.from_json(spec), verdict, total)
    try:
        write_whole(path, [orjson.dumps(content, option=orjson.OPT_INDENT_2)], scratch)
    except OSError as error:
        # The executor finds it missing; there is no other place left to tell it.
        logging.error(_cannot_write(path, error))


class ReadRows(beam.DoFn):
    """A file -> `(bucket, Chunk)`; tagged: `items` chunks, `times` of impressions, `findings`."""

    def __init__(
        self, spec: str, buckets: int, quarantine: str, rolling: Rolling | None, chunk_folder: str | None = None
    ):
        self._spec, self._buckets, self._quarantine, self._rolling = spec, buckets, quarantine, rolling
        self._files = ChunkFiles(chunk_folder)
        self._rows = Metrics.counter("ingest", "rows_read")
        self._bad = Metrics.counter("ingest", "rows_quarantined")

    def teardown(self) -> None:
        self._files.close()

    def process(self, file: SourceFile) -> Iterator[Any]:
        spec = RankingSpec.from_json(self._spec)
        findings = Findings()
        findings.counts["files", file.source] += 1
        started = time.monotonic()
        with tempfile.SpooledTemporaryFile(max_size=8 << 20) as rejected:
            try:
                if file.source == "history":
                    table = read_part(file.path)
                    findings.counts["rows", file.source] += table.num_rows
                    yield from self._chunks(spec, file, 0, table)
                    yield TaggedOutput("findings", findings)
                    return
                number = number_of_statistic(spec, file)
                if number is not None:
                    yield from state_chunks(spec, number, read_part(file.path), file.index, self._buckets, self._files)
                    yield TaggedOutput("findings", findings)
                    return
                times, absent = times_of(spec, file), AbsentColumns()
                for number, batch in enumerate(read_source(spec, file)):
                    absent.add(batch)
                    table, bad, unused = parse(spec, file.source, batch, times)
                    self._count(findings, file.source, batch.file, len(batch.rows) + len(batch.bad), bad)
                    findings.count_unused(file.source, unused)
                    for row in bad:
                        rejected.write(_json_line(batch.file, row))
                    yield from self._chunks(spec, file, number, table)
                refuse_changed(file)
                findings.count_absent(file.source, absent)
                if rejected.tell():
                    rejected.seek(0)
                    name = f"rejected-{file.source}-{file.index:05d}.jsonl"
                    scratch = FileSystems.join(self._quarantine, SCRATCH)
                    write_whole(
                        FileSystems.join(self._quarantine, name), iter(lambda: rejected.read(1 << 20), b""), scratch
                    )
            except IngestError as error:
                findings.problems.append(str(error))
            except OSError as error:
                findings.problems.append(_cannot_write(self._quarantine, error))
        rows, seconds = findings.counts["rows", file.source], time.monotonic() - started
        logging.info("read %s: %s rows, %.0f a second", file.path, f"{rows:,}", rows / max(seconds, 1e-9))
        yield TaggedOutput("findings", findings)

    def _count(self, findings: Findings, source: str, name: str, rows: int, bad: list[BadRow]) -> None:
        findings.counts["rows", source] += rows
        for row in bad:
            findings.counts["bad", source, row.kind] += 1
        first = [(source, name, row.row, row.reason) for row in bad[:5]]
        findings.add(Findings(samples=first))
        self._rows.inc(rows)
        self._bad.inc(len(bad))

    def _chunks(self, spec: RankingSpec, file: SourceFile, number: int, table: pa.Table) -> Iterator[Any]:
        if table.num_rows == 0:
            return
        table = with_day(table, file)
        if file.source == "items":
            yield TaggedOutput("items", (file.source, file.index, number, packed(table)))
            return
        if file.source in ("log", "history") and spec.log.layout == "events":
            yield TaggedOutput("findings", Findings(span=span_of_rows(spec, table, self._rolling)))
        if file.source == "log" and spec.log.duplicates == "keep":
            yield TaggedOutput("times", times_of_examples(spec, table, self._rolling))
        key = table["key" if file.source == "users" else "user"].combine_chunks()
        key = key.combine_chunks() if isinstance(key, pa.ChunkedArray) else key
        buckets = bucket_of(key, self._buckets)
        # Stable: a bucket's rows stay in the order of the file.
        order = np.argsort(buckets, kind="stable")
        table = table.take(order)
        edges = np.searchsorted(buckets[order], np.arange(self._buckets + 1))
        for bucket in np.flatnonzero(np.diff(edges)).tolist():
            rows_of_bucket = table.slice(edges[bucket], edges[bucket + 1] - edges[bucket])
            yield bucket, (file.source, file.index, number, self._files.put(packed(rows_of_bucket)))


class JoinAndWrite(beam.DoFn):
    """A bucket's chunks -> one shard of each split, written here, and `Findings`.

    The examples of a shard stand in a random order that is always the same, so that a batch of training mixes users.
    """

    def __init__(self, spec: str, buckets: int, examples: str, rolling: Rolling | None):
        self._spec, self._buckets, self._examples, self._rolling = spec, buckets, examples, rolling
        self._written = Metrics.counter("ingest", "examples_written")
        self._items: Callable[[int], Lookup] | None = None

    def process(self, element: tuple[int, Iterable[Chunk]], verdict: Verdict, items: list[Chunk]) -> Iterator[Findings]:
        bucket, chunks = element
        if verdict.problems:
            return
        spec = RankingSpec.from_json(self._spec)
        if self._items is None:
            self._items = lookup_by_day(spec, "items", unpacked(items))
        parts = by_source(chunks)
        try:
            log, history = unpacked(parts.pop("log", [])), unpacked(parts.pop("history", []))
            of_bucket = BucketRows.of(spec, log, history, self._rolling)
            rows = of_bucket.rows
            if self._rolling and rows is not None:
                self._carry(spec, bucket, rows, self._rolling)
            users = lookup_by_day(spec, "users", unpacked(parts.pop("users", [])))
            statistics = self._statistics(spec, bucket, of_bucket, users, self._items, parts)
            if log is None or rows is None:
                return
            timelines = join(spec, rows)
            # Without daily folders, all rows are of one day.
            days = np.zeros(len(timelines.impressions), np.int32)
            within = timelines.time[timelines.impressions] >= verdict.first
            if self._rolling:
                days = rows[DAY].to_numpy()[timelines.source[timelines.impressions]]
                within &= self._rolling.examples(days)
            if not within.all():
                timelines, days = timelines.only(within), days[within]
            timelines, unripe = mask_unripe(timelines, verdict.ripe_until)
            findings = _feedback_findings(timelines, unripe)
            build = ExampleBuilder(spec, rows, timelines, text=text_elements, statistics=statistics)
            for day in np.unique(days).tolist():
                self._write(bucket, day, days, build.with_tables(users(day), self._items(day)), verdict, findings)
        except OSError as error:
            findings = Findings(problems=[_cannot_write(error.filename or self._examples, error)])
        except LostRowsError as error:
            findings = Findings(problems=[str(error)])
        yield findings

    def _statistics(
        self,
        spec: RankingSpec,
        bucket: int,
        rows: BucketRows,
        users: Callable[[int], Lookup],
        items: Callable[[int], Lookup],
        parts: dict[str, list[Chunk]],
    ) -> dict[str, Vectors]:
        """Returns the vectors of the bucket's rows, by column; writes what the statistics by user carry on."""
        if not spec.statistics:
            return {}
        here = BucketStatistics(spec, rows, users, items, self._rolling) if rows.log is not None else None
        result = {}
        if here:
            result = shared_vectors(spec, here, parts.get("places", []), parts.get("answers", []))
        for number, definition in enumerate(definitions(spec)):
            if not definition.statistic.by_user:
                continue
            carried = unpacked(chunk for chunk in parts.get("state", []) if chunk[1] == number)
            if here is None and carried is None:
                continue
            vectors, part = answered(spec, number, definition, here, carried, self._rolling)
            if vectors is not None:
                result[definition.statistic.column] = vectors
            if part is not None and self._rolling:
                folder = self._rolling.statistics[number].snapshot.folder
                write_whole(FileSystems.join(folder, part_name(bucket, self._buckets)), [part], scratch_of(folder))
        return result

    def _carry(self, spec: RankingSpec, bucket: int, rows: pa.Table, rolling: Rolling) -> None:
        content, folder = rolling.part(spec, rows), rolling.snapshot.folder
        if content is not None:
            write_whole(FileSystems.join(folder, part_name(bucket, self._buckets)), [content], scratch_of(folder))

    def _write(
        self, bucket: int, day: int, days: np.ndarray, build: ExampleBuilder, verdict: Verdict, findings: Findings
    ) -> None:
        """Writes the examples of the `day`, in files that don't depend on the days beside it."""
        shuffled = np.flatnonzero(days == day)
        np.random.default_rng([bucket, day] if day else bucket).shuffle(shuffled)
        lines = build.timelines
        rows = lines.impressions
        keys = split_keys(build.spec.split, lines.users, lines.user[rows], lines.time[rows])
        split = split_of(keys, verdict.cuts)[shuffled]
        positions = build.positions()
        prefix = f"{day_of_number(day)}-" if day else ""
        for number, name in enumerate(SPLITS):
            chosen = shuffled[split == number]
            if len(chosen) == 0:
                continue
            folder = FileSystems.join(self._examples, f"Split-{name}")
            path = FileSystems.join(folder, f"{prefix}data_tfrecord-{bucket:05d}-of-{self._buckets:05d}.gz")
            batches = _encoded(build.spec, name, build, slices(chosen, positions), findings)
            write_whole(path, gzipped(batches), FileSystems.join(self._examples, SCRATCH))
            self._written.inc(len(chosen))
            if day:
                findings.counts["day", str(day_of_number(day))] += len(chosen)


def _feedback_findings(timelines: Timelines, unripe: dict[str, int]) -> Findings:
    findings = Findings()
    findings.counts.update({("unripe", task): count for task, count in unripe.items()})
    for task, (attributed, unattributed) in timelines.attributed.items():
        findings.counts["attributed", task] += attributed
        findings.counts["unattributed", task] += unattributed
    return findings


def _encoded(
    spec: RankingSpec, split: str, build: ExampleBuilder, pieces: Iterable[np.ndarray], findings: Findings
) -> Iterator[pa.Array]:
    for piece in pieces:
        columns = build(piece)
        findings.counts["examples", split] += len(piece)
        for task in spec.tasks:
            space, label = columns[space_name(task)].to_numpy(), columns[label_name(task)].to_numpy()
            total = float(label.sum(dtype=np.float64))
            findings.counts["in_space", split, task.name] += int(np.count_nonzero(space))
            # A Counter may hold floats: the sum of a regression's labels.
            findings.counts["positives", split, task.name] += total if task.is_regression else int(total)  # type: ignore[assignment]
        yield serialized(columns)


def _json_line(file: str, row: BadRow) -> bytes:
    record = {"file": file, "row": row.row, "reason": row.reason, "text": row.text[:_LONGEST_TEXT]}
    # Text from a broken file may hold lone surrogates, which JSON has no way to write.
    return orjson.dumps({key: _clean(value) for key, value in record.items()}) + b"\n"


def _clean(value: Any) -> Any:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _cannot_write(path: str, error: OSError) -> str:
    return f"{path}: can't be written: {error.strerror or error}"
