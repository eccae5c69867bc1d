"""Rows of the log, as they come, into an online store: at least once in, exactly once counted.

Rows go through ingest's own parsing. What they add to a user's tail and to statistics' keys, and how far the stream has
been counted, is one transaction; and a row that comes again takes the place of itself.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ingest.examples import Lookup
from ingest.raw import BadRow
from ingest.statistics.answers import RowSums
from ingest.statistics.keys import KeyColumns
from ingest.statistics.tiles import Tiles
from ingest.windows.rolling import DAY
from pipeline.online import generations
from pipeline.online.cache import ItemCache
from pipeline.online.events import Events, read_events
from pipeline.online.generations import Generation, Updates
from pipeline.online.tails import MergedRows, merge_records, merge_rows, tail_tiles
from pipeline.online.values import Layout, Seal, filled_texts, present_texts, read_records, with_user
from schema.spec import RankingSpec
from serving.store.protocol import ConflictError, OnlineStore, StoreError

_MOST_ITEMS = 500_000
# How often a batch is begun anew that another writer was faster than.
_TRIES, _LONGEST_PAUSE_SECONDS = 100, 0.1


class StreamGapError(StoreError):
    """Events that don't follow what was counted of their stream: some in between would be lost."""


@dataclass(frozen=True)
class Updated:
    """What became of a batch of events.

    Attributes:
      counted: rows that are in the store now.
      repeated: lines that had been counted before.
      rejected: rows that can't be used, with their reasons; `row` is the position in the stream, from 0.
      unused: rows that the spec leaves out, such as events that it doesn't name.
      settled: rows of days that the generation holds already.
      lag_seconds: how long ago the latest row was that the store has of events; None where it has none.
    """

    counted: int = 0
    repeated: int = 0
    rejected: tuple[BadRow, ...] = ()
    unused: int = 0
    settled: int = 0
    lag_seconds: float | None = None


class Updater:
    """Adds events to a store; of use to one thread at a time, beside any number of others in other processes."""

    def __init__(self, spec: RankingSpec, store: OnlineStore, now: Callable[[], float] = time.time):
        """Takes the clock, in seconds since 1970: it says which day is today's, and which events lie in the future."""
        self._spec, self._store, self._digest, self._now = spec, store, generations.digest_of(spec), now
        self._writer: _TailWriter | None = None

    def position(self, stream: str) -> int:
        """Returns how many events of a stream have been counted, which is the position of the next one.

        Raises:
          StoreError: the store is down.
        """
        return int(self._store.mark(generations.stream_mark(self._digest, stream)) or b"0")

    def update(
        self,
        lines: Sequence[bytes],
        stream: str | None = None,
        first: int | None = None,
        day: int | None = None,
        keep: Callable[[Sequence[BadRow]], None] = lambda rejected: None,
    ) -> Updated:
        """Counts events, JSON objects by the log's columns, a line each.

        Args:
          stream: where they come from; its position is written with them, and what was counted before isn't counted
            again. Without it only rows that are alike (user, item, time, event) tell a repetition.
          first: the position of the first line in the stream; by default the next one.
          day: the folder (days since 1970-01-01) that the rows will be logged under; by default, of logs in daily
            folders today's, else the day of each row's time.
          keep: called with the rows that can't be used, before the others are counted: a kill in between loses none of
            them, and they come again.

        Raises:
          StreamGapError: lines of the stream before `first` haven't been counted.
          StoreError: the store is down, or holds nothing of this definition. Nothing was counted.
        """
        kept: set[int] = set()

        def keep_once(rejected: Sequence[BadRow]) -> None:
            fresh = [bad for bad in rejected if bad.row not in kept]
            kept.update(bad.row for bad in fresh)
            keep(fresh)

        for attempt in range(_TRIES):
            generation = generations.require_current(self._store, self._spec)
            if self._writer is None or self._writer.generation != generation:
                self._writer = _TailWriter(self._spec, self._store, generation)
            try:
                return self._attempt(self._writer, lines, stream, first, day, keep_once)
            except ConflictError:
                # At random: writers that wait for as long as each other meet again.
                time.sleep(random.uniform(0, min(_LONGEST_PAUSE_SECONDS, 0.001 * 2**attempt)))
        raise ConflictError(f"{_TRIES} times another writer was faster")

    def _attempt(
        self,
        writer: "_TailWriter",
        lines: Sequence[bytes],
        stream: str | None,
        first: int | None,
        day: int | None,
        keep: Callable[[Sequence[BadRow]], None],
    ) -> Updated:
        marks: dict[str, bytes] = {}
        expected: dict[str, bytes | None] = {}
        repeated, begin = 0, 0
        if stream is not None:
            name = generations.stream_mark(self._digest, stream)
            text = self._store.mark(name)
            counted = int(text or b"0")
            begin = counted if first is None else first
            if text is not None and begin > counted:
                raise StreamGapError(
                    f"stream {stream!r}: {counted:,} events have been counted, and these begin at {begin:,}"
                )
            repeated = min(max(counted - begin, 0), len(lines))
            lines, begin = lines[repeated:], begin + repeated
            marks[name], expected[name] = str(max(counted, begin + len(lines))).encode(), text
        if not lines:
            return Updated(repeated=repeated)
        now = self._now()
        events = writer.read(lines, begin, day, now)
        keep(events.rejected)
        lag = writer.write(events, now, marks, expected).lag_seconds(now)
        return Updated(events.rows.num_rows, repeated, events.rejected, events.unused, events.settled, lag)


class _TailWriter:
    """Writes tails that continue one generation."""

    def __init__(self, spec: RankingSpec, store: OnlineStore, generation: Generation):
        self.generation, self._store = generation, store
        self._spec = generation.with_precision(spec)
        self._layout = Layout(self._spec)
        self._seal = Seal(generation.digest, generation.name, generation.until)
        self._items = ItemCache(self._spec, self._layout.features["items"], _MOST_ITEMS)
        of_users = {feature.name for feature in spec.features_of("users")}
        self._reads_users = any(of_users.intersection(definition.statistic.keys) for definition in self._layout.shared)

    def read(self, lines: Sequence[bytes], begin: int, day: int | None, now: float) -> Events:
        """Returns what lines hold; see `read_events`."""
        return read_events(self._spec, self.generation, self._layout.log_schema, lines, begin, day, now)

    def write(self, events: Events, now: float, marks: dict[str, bytes], expected: dict[str, bytes | None]) -> Updates:
        """Adds events to the tails of their days, together with `marks`; returns what events have added by then.

        Raises:
          ConflictError: another writer has written meanwhile.
        """
        mark = generations.updates_mark(self.generation.digest)
        text = self._store.mark(mark)
        updates = Updates.from_json(text)
        if not events.rows.num_rows:
            if marks:
                self._store.write([], marks, expected)
            return updates
        values, ticks = self._values(events.rows, events.days), self._spec.log.timestamp.ticks_per_second
        updates = updates.with_batch(events.rows["time"].to_numpy(), events.days.tolist(), now, ticks)
        self._store.write(values, {**marks, mark: updates.to_json()}, {**expected, mark: text})
        return updates

    def _values(self, rows: pa.Table, days: np.ndarray) -> list[tuple[bytes, bytes]]:
        groups, group = _groups(days, rows["user"].to_pylist())
        digest = self.generation.digest
        keys = [generations.tail_key(digest, day, generations.USER, user) for day, user in groups]
        stored, users, items = self._read(keys, [user for _, user in groups], rows)
        before, before_group = self._tails(groups, keys, stored)
        day_of_group = np.array([day for day, _ in groups], np.int64)
        merged = merge_rows(
            _with_day(before, day_of_group[before_group]),
            before_group,
            _with_day(rows, days),
            group,
            len(groups),
        )
        contents = self._layout.tail.pack(filled_texts(merged.rows), merged.edges)
        values = [
            (key, Seal.of_tail(digest, day).close(key, content))
            for (day, _), key, content in zip(groups, keys, contents, strict=True)
        ]
        return values + self._statistics(merged, users, items)

    def _tails(
        self, groups: Sequence[tuple[int, str]], keys: Sequence[bytes], values: Sequence[bytes | None]
    ) -> tuple[pa.Table, np.ndarray]:
        """Returns the rows in the tails of days and users, and int64 [rows] the group of each."""
        present = [index for index, value in enumerate(values) if value is not None]
        contents = [
            Seal.of_tail(self.generation.digest, groups[index][0]).open(keys[index], value)
            for index, value in enumerate(values)
            if value is not None
        ]
        schema = self._layout.log_schema
        if not contents:
            return schema.empty_table(), np.zeros(0, np.int64)
        table, counts, _ = self._layout.tail.unpack(contents)
        group = np.repeat(np.array(present, np.int64), counts)
        users = pa.array([user for _, user in groups], pa.string()).take(pa.array(group))
        return with_user(present_texts(table), users, schema), group

    def _read(self, tails: list[bytes], users: list[str], rows: pa.Table) -> tuple[list[bytes | None], Lookup, Lookup]:
        """Returns the tails as they are, and the features of the rows' users and items."""
        generation = self.generation
        people = [*dict.fromkeys(users)] if self._reads_users else []
        items = pa.compute.unique(rows["item"]).to_pylist() if self._spec.items and self._layout.shared else []
        absent = self._items.absent(items)
        people_keys = [generation.key(generations.USER, user) for user in people]
        item_keys = [generation.key(generations.ITEM, item) for item in absent]
        values = self._store.read([*tails, *people_keys, *item_keys])
        of_people = values[len(tails) :][: len(people)]
        self._add_items(absent, item_keys, values[len(tails) + len(people) :])
        while absent := self._items.absent(items):
            # Some of them were dropped for others.
            item_keys = [generation.key(generations.ITEM, item) for item in absent]
            self._add_items(absent, item_keys, self._store.read(item_keys))
        cached = self._items.items(items) if items else None
        lookup = cached.lookup() if cached is not None else Lookup.of(self._spec, "items", None)
        return values[: len(tails)], self._users(people, people_keys, of_people), lookup

    def _add_items(self, items: list[str], keys: list[bytes], values: Sequence[bytes | None]) -> None:
        pairs = zip(keys, values, strict=True)
        self._items.add(items, keys, [None if value is None else self._seal.open(key, value) for key, value in pairs])

    def _statistics(self, merged: MergedRows, users: Lookup, items: Lookup) -> list[tuple[bytes, bytes]]:
        """Returns the tails of the shared statistics' keys that rows have been added to, or taken from."""
        if not self._layout.shared:
            return []
        rows = pa.concat_tables([merged.removed, merged.added]).combine_chunks()
        sign = np.repeat(np.array([-1, 1]), [merged.removed.num_rows, merged.added.num_rows])
        keys = KeyColumns(self._spec, rows, lambda _: users, lambda _: items)
        sums, time, day = RowSums(self._spec, rows), rows["time"].to_numpy(), rows[DAY].to_numpy()
        added: dict[tuple[str, int], tuple[list[str], Tiles]] = {}
        for definition in self._layout.shared:
            of_rows = keys.of(definition.statistic.keys)
            for number in np.unique(day).tolist():
                chosen = np.flatnonzero((day == number) & (of_rows.code >= 0))
                used, code = np.unique(of_rows.code[chosen], return_inverse=True)
                texts = of_rows.texts.take(pa.array(used)).to_pylist()
                tiles = tail_tiles(definition, code, time[chosen], sums.of(definition.sums)[chosen], sign[chosen])
                added[definition.statistic.name, number] = texts, tiles
        return self._with_records(added)

    def _with_records(self, added: Mapping[tuple[str, int], tuple[list[str], Tiles]]) -> list[tuple[bytes, bytes]]:
        digest = self.generation.digest
        names = [
            [generations.tail_key(digest, day, name, text) for text in texts]
            for (name, day), (texts, _) in added.items()
        ]
        stored = iter(self._store.read([key for keys in names for key in keys]))
        values = []
        for ((name, day), (_, tiles)), keys in zip(added.items(), names, strict=True):
            seal, dtype = Seal.of_tail(digest, day), self._layout.tail_types[name]
            contents = [b"" if (value := next(stored)) is None else seal.open(key, value) for key in keys]
            records, counts = read_records(dtype, keys, contents)
            merged = merge_records(dtype, records, np.repeat(np.arange(len(keys)), counts), tiles, len(keys))
            values += [(key, seal.close(key, content)) for key, content in zip(keys, merged, strict=True)]
        return values

    def _users(self, people: list[str], keys: list[bytes], values: Sequence[bytes | None]) -> Lookup:
        """Returns the features of users, as the users table has them."""
        tables, there = [], []
        for user, key, value in zip(people, keys, values, strict=True):
            if value is not None:
                stored = self._layout.read_user(user, key, self._seal.open(key, value))
                if stored.features is not None:
                    tables.append(stored.features)
                    there.append(user)
        none = Lookup.of(self._spec, "users", None)
        if not there:
            return none
        table = pa.concat_tables(tables).combine_chunks()
        features = {
            name: pa.concat_arrays([table[f"feature:{name}"].combine_chunks(), missing])
            for name, missing in none.features.items()
        }
        return Lookup(pa.array(there, pa.string()), features)


def _groups(days: np.ndarray, users: Sequence[str]) -> tuple[list[tuple[int, str]], np.ndarray]:
    """Returns the distinct days and users, and int64 [rows] the place of each row's among them."""
    places: dict[tuple[int, str], int] = {}
    pairs = zip(days.tolist(), users, strict=True)
    group = np.array([places.setdefault(pair, len(places)) for pair in pairs], np.int64)
    return list(places), group


def _with_day(rows: pa.Table, days: np.ndarray) -> pa.Table:
    return rows.append_column(DAY, pa.array(days.astype(np.int32)))
