"""Logs -> a generation of an online store, which its readers take once it is whole.

Rows are sorted by buckets of users on disk, and a bucket at a time is in memory. What ingest carries on from day to day
is what is written: the same functions make it. Killed at any time and run again, it goes on with the bucket it was at.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from ingest.encoding.tfrecord import write_whole
from ingest.errors import IngestError
from ingest.statistics.graph import key_buckets, state_buckets
from ingest.windows.rolling import lookup_by_day
from ingest.windows.snapshots import Snapshot, part_name, publish, scratch_of
from ingest.windows.window import day_number
from pipeline.online import generations
from pipeline.online.bases import Content, bucket_values, item_values, key_values
from pipeline.online.generations import Generation, Updates
from pipeline.online.plan import Plan, make_plan, scratch_folder, settled
from pipeline.online.reading import SortedRows, sort_rows
from pipeline.online.spill import read_parts, write_parts
from pipeline.online.turn import Turn
from pipeline.online.values import Layout, Seal
from pipeline.runners.run_lock import RunningError, only_run
from schema.spec import RankingSpec
from serving.store.protocol import MAX_KEY_BYTES, ConflictError, OnlineStore

# Called with what is done, how much of it, of how much, and how many rows or values so far.
Progress = Callable[[str, int, int, int], None]
# Values that are written at once: readers and other writers get in between.
_VALUES_A_WRITE = 5_000


@dataclass(frozen=True)
class Materialized:
    """What `materialize` has done.

    Attributes:
      rows, bad: of the log, read and left out.
      too_long: values that were left out, since no store takes a key of their length.
      was_current: whether the store had this generation already, so that nothing was done.
    """

    generation: Generation
    rows: int = 0
    bad: int = 0
    too_long: int = 0
    was_current: bool = False


def materialize(
    spec: RankingSpec,
    logs: str,
    output: str,
    store: OnlineStore,
    until: date | None = None,
    grace_seconds: float = 0.0,
    progress: Progress = lambda *step: None,
) -> Materialized:
    """Writes what is known at the end of the day `until` (by default the last one) as a new generation.

    Args:
      output: the folder of a run, where earlier days' state is, and unfinished work.
      grace_seconds: how long the generation before stays, for requests that are being answered from it.

    Raises:
      IngestError: the logs can't be used, or the folder `output` can't be written, or another one uses it.
      OvertakenError: another one has begun to write a generation of this definition.
      StoreError: the store can't be written.
    """
    plan = make_plan(spec, logs, f"{output}/state", until)
    writer = _Writer(store, plan, output, progress)
    current = generations.current(store, writer.digest)
    if current is not None and current.name == plan.name:
        writer.remove_garbage()
        return Materialized(current, was_current=True)
    folder = scratch_folder(output, plan).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with only_run(folder):
            return writer.run(spec, current, grace_seconds)
    except RunningError as error:
        raise IngestError(str(error)) from None
    except OSError as error:
        raise IngestError(
            f"{error.filename or folder}: {error.strerror or error}; expected --output {output} to be a folder that "
            "can be written, with space for the rows of the logs"
        ) from None


class _Writer:
    def __init__(self, store: OnlineStore, plan: Plan, output: str, progress: Progress):
        self.digest = generations.digest_of(plan.spec)
        self._store, self._plan, self._progress = store, plan, progress
        self._turn = Turn(store, self.digest)
        self._folder = scratch_folder(output, plan)
        self._counts: dict[str, int] = {}
        self._step, self._steps, self._values = 0, 0, 0

    def run(self, spec: RankingSpec, before: Generation | None, grace_seconds: float) -> Materialized:
        """Writes the generation and makes it the current one."""
        self._begin(before)
        sorted_rows = sort_rows(
            self._plan,
            self._folder,
            len(Layout(self._plan.spec).definitions),
            lambda *done: self._progress("read", *done),
        )
        self._plan, earliest = settled(self._plan, sorted_rows.last_day)
        plan = self._plan
        last = day_number(plan.rolling.window.last)
        precision = plan.spec.log.timestamp.precision
        generation = Generation(
            self.digest,
            plan.name,
            last,
            earliest,
            plan.is_daily,
            precision,
            sorted_rows.latest,
            time.time(),
            self._counts,
        )
        self._seal = Seal(self.digest, plan.name, last)
        self._write_all(generation, sorted_rows, before)
        generation = replace(generation, made=time.time(), counts=self._counts)
        self._turn.write([(generation.manifest, generation.to_json())])
        self._flip(spec, generation, before)
        time.sleep(grace_seconds if before else 0)
        self.remove_garbage()
        shutil.rmtree(self._folder, ignore_errors=True)
        too_long = self._counts.get("too_long", 0)
        return Materialized(generation, sorted_rows.rows, sorted_rows.bad, too_long)

    def _begin(self, before: Generation | None) -> None:
        """Drops what a run of other logs has left unfinished."""
        left, name = self._turn.begin(self._plan.name, before), self._plan.name
        if left not in ("", name):
            shutil.rmtree(self._folder.parent / left, ignore_errors=True)
        # It may be an older generation that is made again.
        if left not in ("", name) or f"{self.digest}.{name}" in generations.garbage(self._store, self.digest):
            self.remove_garbage()

    def _write_all(self, generation: Generation, rows: SortedRows, before: Generation | None) -> None:
        """Writes the buckets that a run before hasn't written."""
        plan, layout = self._plan, Layout(self._plan.spec)
        written = self._turn.written
        # Of rows that were sorted elsewhere, tiles and what is carried on lie there, too.
        is_resumed = written.rows == rows.token
        done = written.done if is_resumed else 0
        self._counts.update(written.counts if is_resumed else {})
        keys = key_buckets(rows.buckets)
        shared = [number for number, definition in enumerate(layout.definitions) if not definition.statistic.by_user]
        self._steps = steps = rows.buckets + 1 + keys * len(shared)
        items = lookup_by_day(plan.spec, "items", rows.items())
        for step in range(done, steps):
            self._step = step
            self._tell()
            if step < rows.buckets:
                values = self._users_of(layout, rows, step, items, before)
                self._write(generation, generations.USER, [values])
            elif step == rows.buckets:
                table = items(generation.until)
                self._write(generation, generations.ITEM, item_values(layout, table) if plan.spec.items else [])
            else:
                index, bucket = divmod(step - rows.buckets - 1, keys)
                number = shared[index]
                values = self._keys_of(layout, rows, number, bucket, keys)
                self._write(generation, layout.definitions[number].statistic.name, [values])
            self._turn.advance(rows.token, step + 1, self._counts)
        self._publish(rows.buckets)
        self._step = steps
        self._tell()

    def _users_of(
        self, layout: Layout, rows: SortedRows, bucket: int, items: Callable, before: Generation | None
    ) -> list[Content]:
        values = bucket_values(
            self._plan,
            layout,
            rows.users(bucket),
            items,
            rows.buckets,
            lambda users: self._last_features(layout, users, before),
        )
        write_parts(self._folder / "tiles" / str(bucket), values.tiles)
        if self._plan.is_daily:
            name = part_name(bucket, rows.buckets)
            if values.rows is not None:
                _write_part(self._plan.rolling.snapshot, name, values.rows)
            for number, part in values.states.items():
                _write_part(self._plan.rolling.statistics[number].snapshot, name, part)
        return values.users

    def _last_features(self, layout: Layout, users: list[str], before: Generation | None) -> dict[str, pa.Table]:
        """Returns the last rows' features of users as the generation before has them; of all files none is older."""
        if before is None or not self._plan.is_daily or self._plan.rolling.earlier is None:
            return {}
        seal, result = Seal(before.digest, before.name, before.until), {}
        keys = [before.key(generations.USER, user) for user in users]
        for user, key, value in zip(users, keys, self._store.read(keys), strict=True):
            if value is not None:
                content = seal.open(key, value)
                _, _, (end,) = layout.rows.unpack([content])
                last, _, _ = layout.last.unpack([content[end:]])
                if len(last):
                    result[user] = last
        return result

    def _keys_of(self, layout: Layout, rows: SortedRows, number: int, bucket: int, keys: int) -> list[Content]:
        part_number = number * keys + bucket
        files = (self._folder / "tiles" / str(user_bucket) for user_bucket in range(rows.buckets))
        early = (data for file in files for data in read_parts(file, part_number))
        values, part = key_values(self._plan, layout, number, rows.states(part_number), early)
        if part is not None and self._plan.is_daily:
            _write_part(self._plan.rolling.statistics[number].snapshot, part_name(bucket, keys), part)
        return values

    def _publish(self, buckets: int) -> None:
        """Makes whole what the next day begins with."""
        plan = self._plan
        if not plan.is_daily:
            return
        publish(plan.rolling.snapshot, buckets)
        _remove(scratch_of(plan.rolling.snapshot.folder))
        for state, parts in zip(plan.rolling.statistics, state_buckets(plan.spec, buckets), strict=True):
            publish(state.snapshot, parts)
            _remove(scratch_of(state.snapshot.folder))

    def _write(self, generation: Generation, kind: str, contents: Iterable[list[Content]]) -> None:
        batch: list[tuple[bytes, bytes]] = []
        for some in contents:
            for name, content in some:
                key = generation.key(kind, name)
                if len(key) > MAX_KEY_BYTES:
                    self._count("too_long", 1)
                    continue
                value = self._seal.close(key, content)
                self._count(kind, 1)
                self._count("bytes", len(key) + len(value))
                self._count(f"{kind}_bytes", len(key) + len(value))
                batch.append((key, value))
                if len(batch) == _VALUES_A_WRITE:
                    self._write_batch(batch)
                    batch = []
        if batch:
            self._write_batch(batch)

    def _write_batch(self, batch: list[tuple[bytes, bytes]]) -> None:
        self._turn.write(batch)
        self._values += len(batch)
        self._tell()

    def _tell(self) -> None:
        self._progress("write", self._step, self._steps, self._values)

    def _count(self, name: str, number: int) -> None:
        self._counts[name] = self._counts.get(name, 0) + number

    def _flip(self, spec: RankingSpec, generation: Generation, before: Generation | None) -> None:
        """Lets readers take the generation; what isn't read any more is marked for removal."""
        names = {**generations.definitions(self._store), self.digest: spec.name}
        while True:
            mark = generations.updates_mark(self.digest)
            text = self._store.mark(mark)
            updates = Updates.from_json(text)
            gone = generations.garbage(self._store, self.digest)
            gone += [before.prefix.decode()] if before else []
            gone += [
                generations.tail_prefix(self.digest, day).decode() for day in updates.days if day <= generation.until
            ]
            marks = {
                generations.current_mark(self.digest): generation.to_json(),
                generations.garbage_mark(self.digest): generations.garbage_json(gone),
                generations.progress_mark(self.digest): b"{}",
                generations.DEFINITIONS: json.dumps(names).encode(),
            }
            if text is not None:
                marks[mark] = updates.without(generation.until).to_json()
            try:
                return self._turn.write([], marks, {mark: text})
            except ConflictError:
                continue

    def remove_garbage(self) -> None:
        """Removes what no reader takes any more."""
        mark = generations.garbage_mark(self.digest)
        while (text := self._store.mark(mark)) and text != b"[]":
            for prefix in json.loads(text):
                self._store.remove(prefix.encode())
            # What another one has added meanwhile comes next.
            with suppress(ConflictError):
                self._store.write([], {mark: b"[]"}, {mark: text})


def _write_part(snapshot: Snapshot, name: str, part: bytes) -> None:
    write_whole(FileSystems.join(snapshot.folder, name), [part], scratch_of(snapshot.folder))


def _remove(folder: str) -> None:
    if Path(folder).exists():
        shutil.rmtree(folder, ignore_errors=True)
