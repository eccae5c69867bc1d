"""What a request of ids doesn't bring, the store does: the inputs of `rank`, as ingest's own functions make them.

The user's rows, what was counted of each key, and the features of the tables come from the store; timelines, sequences,
statistics and columns are made of them by what makes the examples.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from ingest.examples import ExampleBuilder, Lookup
from ingest.rank_request import NO_ITEM, RequestError, column_values, impressions
from ingest.statistics.answers import Definition
from ingest.statistics.bucket import BucketRows, BucketStatistics, answered
from ingest.statistics.fold import Fold
from ingest.statistics.requests import START, with_start
from ingest.statistics.sums import scales
from ingest.statistics.tiles import merged
from ingest.statistics.vectors import Vectors, as_float32
from ingest.timeline import join
from ingest.windows.carried import prepend_carried
from pipeline.online import generations
from pipeline.online.cache import Answer, AnswerCache, ItemCache, KeyCache
from pipeline.online.generations import Generation, Updates
from pipeline.online.user_rows import ids_of, last_features, read_tails, rows_until
from pipeline.online.values import (
    Layout,
    Seal,
    StoredUser,
    read_records,
    tiles_of_records,
)
from schema.columns import ITEM_ID, example_columns, input_columns
from schema.spec import RankingSpec
from serving.store.protocol import OnlineStore, StoreUnavailableError

# What a process keeps at most, of items and of statistics' keys.
_MOST_ITEMS, _MOST_KEYS = 500_000, 200_000
# How often a request is begun anew whose generation has been removed meanwhile.
_TRIES = 3


@dataclass(frozen=True)
class Completed:
    """Both sides of a request, and what the store knew.

    Attributes:
      user: the user's columns, as `RequestLogs.user_columns` returns them.
      candidates: the candidates' columns, as `RequestLogs.candidate_columns` returns them.
      unknown_user: whether the store has no row of the user, and the users table neither.
      unknown_items: how many of the candidates the items table lacks.
      lag_seconds: how long before the request the latest row was that is counted.
    """

    user: dict[str, Any]
    candidates: dict[str, Sequence[Any] | np.ndarray]
    unknown_user: bool
    unknown_items: int
    lag_seconds: float


class Completer:
    """Completes requests from a store; of use to many threads at once."""

    def __init__(self, spec: RankingSpec, store: OnlineStore):
        self._spec, self._store = spec, store
        self._digest = generations.digest_of(spec)
        self._lock = threading.Lock()
        self._reader: _Reader | None = None

    def complete(
        self,
        user: str,
        item_ids: Sequence[str],
        at: int | None = None,
        context: Mapping[str, object] | None = None,
    ) -> Completed:
        """Returns what `rank` takes of a user and candidates at a moment.

        Args:
          at: in ticks of the examples' clock; by default now.
          context: typed values of features from the log by their name, in place of the last row's; None is missing.

        Raises:
          RequestError: an id can't be one, or the moment lies before what the store can tell.
          StoreError: the store is down, holds nothing of this definition, or a value that is corrupt.
        """
        whose = ids_of([user], "user_id")[0]
        items = ids_of(item_ids, "item_id")
        for _ in range(_TRIES):
            reader = self._current()
            completed = reader.complete(whose, items, at, context or {})
            if completed is not None:
                return completed
        raise StoreUnavailableError("the store's generations change faster than a request is answered")

    def generation(self) -> Generation:
        """Returns the generation that requests are completed from.

        Raises:
          StoreError: the store is down, or has none.
        """
        return self._current().generation

    def _current(self) -> "_Reader":
        generation = generations.require_current(self._store, self._spec)
        with self._lock:
            if self._reader is None or self._reader.generation != generation:
                self._reader = _Reader(self._spec, self._store, generation)
            return self._reader


class _Reader:
    """Reads one generation, and what events have added to it."""

    def __init__(self, spec: RankingSpec, store: OnlineStore, generation: Generation):
        self._spec, self._store, self.generation = generation.with_precision(spec), store, generation
        self._layout = Layout(self._spec)
        self._seal = Seal(generation.digest, generation.name, generation.until)
        self._items = ItemCache(self._spec, self._layout.features["items"], _MOST_ITEMS)
        self._keys = KeyCache(_MOST_KEYS)
        self._lock = threading.Lock()
        self._columns, self._example_columns = input_columns(self._spec), example_columns(self._spec)
        self._answers = {one.statistic.name: AnswerCache() for one in self._layout.shared}
        self._asking_schema = self._layout.log_schema
        if START in self._asking_schema.names:
            self._asking_schema = self._asking_schema.remove(self._asking_schema.get_field_index(START))

    def complete(
        self, user: str, items: Sequence[str], at: int | None, context: Mapping[str, object]
    ) -> Completed | None:
        """Returns the request; None if the generation isn't there any more."""
        updates = Updates.from_json(self._store.mark(generations.updates_mark(self.generation.digest)))
        days = [day for day in updates.days if day > self.generation.until]
        moment = self._moment(at)
        stored, tail = self._user(user, days, items)
        if stored is None:
            return None
        past = rows_until(stored.rows, moment), rows_until(tail, moment)
        values = last_features(past[1]) or stored.last
        values = {**values, **{f"feature:{name}": value for name, value in context.items()}}
        asking = with_start(
            self._spec, impressions(self._asking_schema, [user], [items or [NO_ITEM]], moment, [values])
        )
        log = pa.concat_tables([past[1], asking]).combine_chunks()
        rows = prepend_carried(log, past[0])
        assert rows is not None
        rows = rows.combine_chunks()
        read = self._lookup([*dict.fromkeys([*items, *rows["item"].to_pylist()])])
        if read is None:
            return None
        lookup, unknown = read
        users = self._users_lookup(user, stored)
        asked = np.arange(rows.num_rows - asking.num_rows, rows.num_rows)
        vectors = self._vectors(log, asking, rows, users, lookup, stored, days, updates.batches)
        if vectors is None:
            return None
        sides = self._sides(rows, asked, users, lookup, vectors, items)
        latest = max(self.generation.latest, updates.latest or 0)
        return Completed(
            *sides,
            stored.features is None and not (len(stored.rows) or len(tail)),
            sum(item in unknown for item in items),
            (moment - latest) / self._spec.log.timestamp.ticks_per_second,
        )

    def _moment(self, at: int | None) -> int:
        clock = self._spec.log.timestamp
        if at is None:
            return int(datetime.now(UTC).timestamp() * clock.ticks_per_second)
        moment = at * clock.ticks_per_example_tick
        if moment < self.generation.earliest:
            raise RequestError(
                f"timestamp: got {at}, expected one from {-(-self.generation.earliest // clock.ticks_per_example_tick)}"
                " on, before which the store can't tell what was known"
            )
        return moment

    def _user(self, user: str, days: Sequence[int], items: Sequence[str]) -> tuple[StoredUser | None, pa.Table]:
        """Returns a user's base and the rows since; candidates that aren't known yet are read on the way."""
        generation = self.generation
        base = generation.key(generations.USER, user)
        tails = [generations.tail_key(generation.digest, day, generations.USER, user) for day in days]
        with self._lock:
            absent = self._items.absent([*dict.fromkeys(items)]) if self._spec.items else []
        item_keys = [generation.key(generations.ITEM, item) for item in absent]
        manifest, value, *rest = self._store.read([generation.manifest, base, *tails, *item_keys])
        empty = self._layout.log_schema.empty_table()
        if manifest is None:
            return None, empty
        self._add_items(absent, item_keys, rest[len(tails) :])
        stored = StoredUser(self._layout.carried_schema.empty_table(), {}, None, (None,) * len(self._layout.by_user))
        if value is not None:
            stored = self._layout.read_user(user, base, self._seal.open(base, value))
        return stored, pa.concat_tables([empty, *read_tails(self._layout, generation.digest, user, days, tails, rest)])

    def _add_items(self, ids: Sequence[str], keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        contents = [
            None if value is None else self._seal.open(key, value) for key, value in zip(keys, values, strict=True)
        ]
        with self._lock:
            self._items.add(ids, keys, contents)

    def _lookup(self, ids: Sequence[str]) -> tuple[Lookup, set[str]] | None:
        """Returns items' features, and those that the table lacks; None if the generation isn't there any more."""
        if not self._spec.items:
            return Lookup.of(self._spec, "items", None), set()
        while True:
            with self._lock:
                absent = self._items.absent(ids)
                if not absent:
                    return self._items.lookup(ids)
            keys = [self.generation.key(generations.ITEM, item) for item in absent]
            manifest, *values = self._store.read([self.generation.manifest, *keys])
            if manifest is None:
                return None
            self._add_items(absent, keys, values)

    def _users_lookup(self, user: str, stored: StoredUser) -> Lookup:
        if stored.features is None:
            return Lookup.of(self._spec, "users", None)
        none = Lookup.of(self._spec, "users", None).features
        features = {
            name: pa.concat_arrays([stored.features[f"feature:{name}"].combine_chunks(), missing])
            for name, missing in none.items()
        }
        return Lookup(pa.array([user]), features)

    def _vectors(
        self,
        log: pa.Table,
        asking: pa.Table,
        rows: pa.Table,
        users: Lookup,
        items: Lookup,
        stored: StoredUser,
        days: Sequence[int],
        batches: int,
    ) -> dict[str, Vectors] | None:
        """Returns the vectors of each statistic; None if the generation isn't there any more."""
        if not self._layout.definitions:
            return {}
        spec, result = self._spec, {}
        tables: tuple[Callable[[int], Lookup], Callable[[int], Lookup]] = lambda _: users, lambda _: items
        if self._layout.by_user:
            since = BucketRows(log, rows, np.arange(log.num_rows))
            here = BucketStatistics(spec, since, *tables, None)
            numbers = [number for number, one in enumerate(self._layout.definitions) if one.statistic.by_user]
            for number, state in zip(numbers, stored.statistics, strict=True):
                definition = self._layout.definitions[number]
                vectors, _ = answered(spec, number, definition, here, state, None)
                assert vectors is not None
                result[definition.statistic.column] = vectors
        if self._layout.shared:
            here = BucketStatistics(spec, BucketRows(asking, rows, np.arange(asking.num_rows)), *tables, None)
            shared = self._shared(here, days, batches)
            if shared is None:
                return None
            result.update(shared)
        return result

    def _shared(self, here: BucketStatistics, days: Sequence[int], batches: int) -> dict[str, Vectors] | None:
        """Returns the vectors of statistics that others' rows count in, too; all that is asked has one edge.

        What was answered at the same edge, while no further batch of events has been counted, is answered again.
        """
        asks, texts, codes, known, absent = {}, {}, {}, {}, {}
        for one in self._layout.shared:
            name = one.statistic.name
            asks[name] = here.asks(one)
            used, codes[name] = np.unique(asks[name].key, return_inverse=True)
            texts[name] = here.keys(one).texts.take(pa.array(used)).to_pylist()
            stamp = int(asks[name].edge[0]) if len(used) else 0, batches
            known[name] = self._answers[name].at(stamp)
            absent[name] = [text for text in texts[name] if text not in known[name]]
        contents = self._read_keys(absent, days) if any(absent.values()) else {}
        if contents is None:
            return None
        result = {}
        for one in self._layout.shared:
            name = one.statistic.name
            if absent[name]:
                known[name].update(self._answered(one, absent[name], contents[name], int(asks[name].edge[0])))
            answers = [known[name][text] for text in texts[name]]
            width = len(one.statistic.spans) * len(one.sums)
            sums = np.array([values for values, _ in answers], np.float32).reshape(-1, width)[codes[name]]
            latest = None
            if one.statistic.age:
                latest = np.array([times for _, times in answers], np.int64).reshape(-1, len(one.sums))[codes[name]]
            result[one.statistic.column] = here.from_float32(one, sums, latest, asks[name].place)
        return result

    def _answered(
        self, definition: Definition, texts: Sequence[str], contents: Sequence[Sequence[bytes]], edge: int
    ) -> dict[str, Answer]:
        """Returns what keys' rows before an edge (a tile) sum up to, of their bases and of each day's tails."""
        name, windows = definition.statistic.name, bool(definition.statistic.windows)
        types = [self._layout.state_types[name], *[self._layout.tail_types[name]] * (len(contents) - 1)]
        keys, tiles = [text.encode() for text in texts], []
        for dtype, values in zip(types, contents, strict=True):
            records, counts = read_records(dtype, keys, values)
            tiles.append(tiles_of_records(records, np.repeat(np.arange(len(keys)), counts), windows))
        answers = Fold(merged(tiles), definition.spans).at(np.arange(len(keys)), np.full(len(keys), edge))
        latest: Iterable[np.ndarray | None] = [None] * len(keys) if answers.latest is None else answers.latest
        return dict(zip(texts, zip(as_float32(answers, scales(definition.sums)), latest, strict=True), strict=True))

    def _read_keys(self, names: Mapping[str, list[str]], days: Sequence[int]) -> dict[str, list[list[bytes]]] | None:
        """Returns the bases of each statistic's keys, and what each of the days has added to them.

        None if the generation isn't there any more; empty where there is nothing of a key.
        """
        generation = self.generation
        with self._lock:
            known = {name: self._keys.of(name, keys) for name, keys in names.items()}
        absent = {name: [key for key in keys if key not in known[name]] for name, keys in names.items()}
        sealed = [(self._seal, generation.key(name, key)) for name, keys in absent.items() for key in keys]
        for name, keys in names.items():
            for day in days:
                seal = Seal.of_tail(generation.digest, day)
                sealed += [(seal, generations.tail_key(generation.digest, day, name, key)) for key in keys]
        manifest, *values = self._store.read([generation.manifest, *(key for _, key in sealed)])
        if manifest is None:
            return None
        opened = (
            b"" if value is None else bytes(seal.open(key, value))
            for (seal, key), value in zip(sealed, values, strict=True)
        )
        for name, keys in absent.items():
            read = {key: next(opened) for key in keys}
            known[name].update(read)
            with self._lock:
                self._keys.add(name, read)
        return {
            name: [[known[name][key] for key in keys], *([next(opened) for _ in keys] for _ in days)]
            for name, keys in names.items()
        }

    def _sides(
        self,
        rows: pa.Table,
        asked: np.ndarray,
        users: Lookup,
        items: Lookup,
        vectors: Mapping[str, Vectors],
        item_ids: Sequence[str],
    ) -> tuple[dict[str, Any], dict[str, Sequence[Any] | np.ndarray]]:
        timelines = join(self._spec, rows)
        (which,) = np.flatnonzero(timelines.source[timelines.impressions] == asked[0])
        build = ExampleBuilder(self._spec, rows, timelines, users, items, columns=self._example_columns)
        built = build(np.array([which]))
        ids = pa.array(item_ids, pa.string())
        candidates = {ITEM_ID: ids, **items.at(ids)}
        user_side: dict[str, Any] = {}
        item_side: dict[str, Sequence[Any] | np.ndarray] = {}
        for column in self._columns:
            if column.side == "user":
                vector = vectors[column.name].take(asked[:1]) if column.name in vectors else None
                user_side[column.name] = (column_values(column, built[column.name]) if vector is None else vector)[0]
            elif column.name in vectors:
                item_side[column.name] = vectors[column.name].take(asked[: len(item_ids)])
            else:
                item_side[column.name] = column_values(column, candidates[column.name])
        return user_side, item_side
