"""What a request of ids doesn't bring, the store does: the inputs of `rank`, as ingest's own functions make them.

The user's rows, what was counted of each key, and the features of the tables come from the store; timelines, sequences,
statistics and columns are made of them by what makes the examples.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from ingest.examples import ExampleBuilder, Lookup
from ingest.rank_request import NO_ITEM, RequestError, column_values, impressions
from ingest.statistics.answers import Definition
from ingest.statistics.requests import START, request_times, with_start
from ingest.statistics.tiles import Tiles
from ingest.timeline import join
from ingest.windows.carried import prepend_carried
from pipeline.online import generations
from pipeline.online.cache import AnswerCache, EdgeAnswers, ItemCache, Items, KeyCache
from pipeline.online.generations import Generation, Updates
from pipeline.online.statistics import KeyReader, UserStatistics, answer_widths, answers_at
from pipeline.online.statistics import vectors as vectors_of
from pipeline.online.user_rows import ids_of, last_features, read_tails, rows_until
from pipeline.online.values import (
    Layout,
    Seal,
    StoredUser,
    read_records,
    tiles_of_records,
)
from schema.columns import ITEM_ID, example_columns, model_columns
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
        items: Sequence[str] | None = None
        for _ in range(_TRIES):
            # Before the generation: one that comes in between ends days that these updates still have.
            updates = Updates.from_json(self._store.mark(generations.updates_mark(self._digest)))
            reader = self._current()
            items = reader.ids(item_ids) if items is None else items
            completed = reader.complete(whose, items, at, context or {}, updates)
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
        generation = generations.current(self._store, self._digest)
        if generation is None:
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
        self._columns, self._example_columns = model_columns(self._spec), example_columns(self._spec)
        self._answers = {
            one.statistic.name: AnswerCache(*answer_widths(one), _MOST_KEYS) for one in self._layout.shared
        }
        self._nobody = Lookup.of(self._spec, "users", None)
        self._asking_schema = self._layout.log_schema
        if START in self._asking_schema.names:
            self._asking_schema = self._asking_schema.remove(self._asking_schema.get_field_index(START))

    def ids(self, texts: Sequence[str]) -> Sequence[str]:
        """Returns item ids as ingest would read them; those of known items are as they are.

        Raises:
          RequestError: one is empty or can't be one.
        """
        return texts if all(text in self._items for text in texts) else ids_of(texts, "item_id")

    def complete(
        self, user: str, items: Sequence[str], at: int | None, context: Mapping[str, object], updates: Updates
    ) -> Completed | None:
        """Returns the request; None if the generation isn't there any more."""
        days = [day for day in updates.days if day > self.generation.until]
        moment = self._moment(at)
        stored, tail = self._user(user, days, items)
        if stored is None:
            return None
        past = rows_until(stored.rows, moment), rows_until(tail, moment)
        values = last_features(past[1]) or stored.last
        values = {**values, **{f"feature:{name}": value for name, value in context.items()}}
        # One row stands for all candidates: the user's side, and when the request began, is the same for each.
        asking = with_start(self._spec, impressions(self._asking_schema, [user], [[NO_ITEM]], moment, [values]))
        rows = prepend_carried(pa.concat_tables([past[1], asking]), past[0])
        assert rows is not None
        rows = rows.combine_chunks()
        known = self._known(items, dict.fromkeys(rows["item"].to_pylist()))
        if known is None:
            return None
        candidates, dealt_with = known
        users = self._users_lookup(user, stored)
        asked = int(request_times(self._spec, rows)[-1])
        keys = KeyReader(self._spec, asking, users, candidates)
        since = UserStatistics(self._spec, past[1], users, dealt_with)
        by_user = self._by_user(since, keys, stored, asked)
        shared = self._shared(keys, asked, days, updates)
        if shared is None:
            return None
        sides = self._sides(rows, users, dealt_with, candidates, {**by_user, **shared})
        latest = max(self.generation.latest, updates.latest or 0)
        return Completed(
            *sides,
            stored.features is None and not (len(stored.rows) or len(tail)),
            candidates.unknown if self._spec.items else 0,
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

    def _known(self, ids: Sequence[str], dealt_with: Collection[str]) -> tuple[Items, Lookup] | None:
        """Returns what is known of the candidates, and the table of the items that the user has dealt with.

        None if the generation isn't there any more.
        """
        if not self._spec.items:
            return Items(ids, np.zeros(len(ids), np.int64), {}), Lookup.of(self._spec, "items", None)
        while True:
            with self._lock:
                absent = self._items.absent(dict.fromkeys([*ids, *dealt_with]))
                if not absent:
                    return self._items.items(ids), self._items.items(list(dealt_with)).lookup()
            keys = [self.generation.key(generations.ITEM, item) for item in absent]
            manifest, *values = self._store.read([self.generation.manifest, *keys])
            if manifest is None:
                return None
            self._add_items(absent, keys, values)

    def _users_lookup(self, user: str, stored: StoredUser) -> Lookup:
        if stored.features is None:
            return self._nobody
        features = {
            name: pa.concat_arrays([stored.features[f"feature:{name}"].combine_chunks(), missing])
            for name, missing in self._nobody.features.items()
        }
        return Lookup(pa.array([user]), features)

    def _by_user(
        self, statistics: UserStatistics, keys: KeyReader, stored: StoredUser, asked: int
    ) -> dict[str, np.ndarray]:
        """Returns the vectors of the statistics that nobody else's rows count in, by their column."""
        result = {}
        for one, state in zip(self._layout.by_user, stored.statistics, strict=True):
            of_request = keys.of(one)
            sums, latest = statistics.answers(one, state, of_request, _edge(one, asked))
            result[one.statistic.column] = vectors_of(one, sums, latest, of_request.code, asked)
        return result

    def _shared(
        self, keys: KeyReader, asked: int, days: Sequence[int], updates: Updates
    ) -> dict[str, np.ndarray] | None:
        """Returns the vectors of the other statistics, by their column; None if the generation isn't there any more.

        What was answered at the same edge is answered again, as long as no events from before it have come.
        """
        shared = self._layout.shared
        of_request = {one.statistic.name: keys.of(one) for one in shared}
        answers = {one.statistic.name: self._answers_at(one, asked, updates) for one in shared}
        absent = {name: answers[name].absent(of_request[name].texts) for name in answers}
        contents = self._read_keys(absent, days) if any(absent.values()) else {}
        if contents is None:
            return None
        result = {}
        for one in shared:
            name = one.statistic.name
            if absent[name]:
                tiles = self._tiles(one, absent[name], contents[name])
                sums, latest = answers_at(one, tiles, len(absent[name]), _edge(one, asked))
                answers[name].add(absent[name], sums, latest)
            sums, latest = answers[name].of(of_request[name].texts)
            result[one.statistic.column] = vectors_of(one, sums, latest, of_request[name].code, asked)
        return result

    def _answers_at(self, definition: Definition, asked: int, updates: Updates) -> EdgeAnswers:
        edge = _edge(definition, asked)
        return self._answers[definition.statistic.name].at(edge, edge * definition.spans.granularity, updates)

    def _tiles(self, definition: Definition, keys: Sequence[str], contents: Sequence[Sequence[bytes]]) -> list[Tiles]:
        """Returns the tiles of keys' bases and of each day's tails; a tile's key is its place."""
        name, windows = definition.statistic.name, bool(definition.statistic.windows)
        types = [self._layout.state_types[name], *[self._layout.tail_types[name]] * (len(contents) - 1)]
        names, tiles = [key.encode() for key in keys], []
        for dtype, values in zip(types, contents, strict=True):
            records, counts = read_records(dtype, names, values)
            tiles.append(tiles_of_records(records, np.repeat(np.arange(len(keys)), counts), windows))
        return tiles

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
        self, rows: pa.Table, users: Lookup, dealt_with: Lookup, candidates: Items, statistics: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Any], dict[str, Sequence[Any] | np.ndarray]]:
        """Returns both sides; the last of `rows` is the request's."""
        timelines = join(self._spec, rows)
        (which,) = np.flatnonzero(timelines.source[timelines.impressions] == rows.num_rows - 1)
        build = ExampleBuilder(self._spec, rows, timelines, users, dealt_with, columns=self._example_columns)
        built = build(np.array([which]))
        ids = np.empty(len(candidates.ids), object)
        ids[:] = [item.encode() for item in candidates.ids]
        of_items = {ITEM_ID: ids, **candidates.values()}
        user_side: dict[str, Any] = {}
        item_side: dict[str, Sequence[Any] | np.ndarray] = {}
        for column in self._columns:
            if column.side == "user":
                values = statistics.get(column.name)
                user_side[column.name] = (column_values(column, built[column.name]) if values is None else values)[0]
            else:
                values = statistics.get(column.name)
                item_side[column.name] = of_items[column.name] if values is None else values
        return user_side, item_side


def _edge(definition: Definition, asked: int) -> int:
    """Returns the tile before which rows count for a request that began at `asked`, in ticks."""
    return int(definition.edge(np.array([asked]))[0])
