"""What a request of ids doesn't bring, the store does: the inputs of `rank`, as ingest's own functions make them.

The user's rows, what was counted of each key, and the features of the tables come from the store; timelines, sequences,
statistics and columns are made of them by what makes the examples.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from ingest.examples import ExampleBuilder, Lookup
from ingest.rank_request import NO_ITEM, RequestError, column_values, impressions
from ingest.statistics.answers import Definition
from ingest.statistics.fold import Fold
from ingest.statistics.requests import START, request_times, with_start
from ingest.statistics.tiles import Tiles, merged
from ingest.timeline import join
from ingest.windows.carried import prepend_carried
from pipeline.online import generations
from pipeline.online.answers import AnswerCache, KeyCache
from pipeline.online.cache import ItemCache, Items, Recent
from pipeline.online.generations import Generation, Updates
from pipeline.online.statistics import (
    KeyReader,
    UserState,
    UserStatistics,
    answer_widths,
    answers_at,
    edge_of,
    vectors,
)
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

# What a process keeps at most, of items, of statistics' keys and of users.
_MOST_ITEMS, _MOST_KEYS, _MOST_USERS = 500_000, 200_000, 1_000
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
      moment: when the request was, in ticks of the generation's precision.
      generation: what it was completed from.
      updates: what events had added since.
    """

    user: dict[str, Any]
    candidates: dict[str, Sequence[Any] | np.ndarray]
    unknown_user: bool
    unknown_items: int
    lag_seconds: float
    moment: int
    generation: Generation
    updates: Updates


class Completer:
    """Completes requests from a store; of use to many threads at once."""

    def __init__(self, spec: RankingSpec, store: OnlineStore):
        self._spec, self._store = spec, store
        self._digest = generations.digest_of(spec)
        self._lock = threading.Lock()
        self._reader: _Reader | None = None
        # What the marks said that the reader, and the updates, were made of.
        self._reader_text: bytes | None = None
        self._updates: tuple[bytes | None, Updates] | None = None

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
        for _ in range(_TRIES):
            # Before the generation: one that comes in between ends days that these updates still have.
            updates = self._updates_of(self._store.mark(generations.updates_mark(self._digest)))
            reader = self._current()
            completed = reader.complete(user, item_ids, at, context or {}, updates)
            if completed is not None:
                return completed
        raise StoreUnavailableError("the store's generations change faster than a request is answered")

    def generation(self) -> Generation:
        """Returns the generation that requests are completed from.

        Raises:
          StoreError: the store is down, or has none.
        """
        return self._current().generation

    def _updates_of(self, text: bytes | None) -> Updates:
        last = self._updates
        if last is None or last[0] != text:
            # Another thread may have read other ones meanwhile.
            self._updates = last = text, Updates.from_json(text)
        return last[1]

    def _current(self) -> "_Reader":
        text = self._store.mark(generations.current_mark(self._digest))
        with self._lock:
            if self._reader is not None and self._reader_text == text:
                return self._reader
        generation = (
            generations.require_current(self._store, self._spec) if text is None else Generation.from_json(text)
        )
        with self._lock:
            if self._reader is None or self._reader.generation != generation:
                self._reader = _Reader(self._spec, self._store, generation)
            self._reader_text = text
            return self._reader


@dataclass(frozen=True)
class _User:
    """What a generation has of a user (`StoredUser`), the users table's row ready to be joined, the states folded.

    Attributes:
      rows: those that were carried on, with the columns of rows of the log.
    """

    rows: pa.Table
    last: dict[str, object]
    users: Lookup
    statistics: tuple[UserState, ...]


class _Reader:
    """Reads one generation, and what events have added to it."""

    def __init__(self, spec: RankingSpec, store: OnlineStore, generation: Generation):
        self._spec, self._store, self.generation = generation.with_precision(spec), store, generation
        self._layout = Layout(self._spec)
        self._seal = Seal(generation.digest, generation.name, generation.until)
        self._items = ItemCache(self._spec, self._layout.features["items"], _MOST_ITEMS)
        self._keys, self._users = KeyCache(_MOST_KEYS), Recent[_User](_MOST_USERS)
        self._lock = threading.Lock()
        self._columns = input_columns(self._spec)
        of_user = {column.name for column in self._columns if column.side == "user"}
        self._user_columns = tuple(column for column in example_columns(self._spec) if column.name in of_user)
        self._answers = {
            one.statistic.name: AnswerCache(*answer_widths(one), _MOST_KEYS) for one in self._layout.shared
        }
        self._nobody = Lookup.of(self._spec, "users", None)
        schema = self._layout.log_schema
        if START in schema.names:
            schema = schema.remove(schema.get_field_index(START))
        self._asking = with_start(self._spec, impressions(schema, [""], [[NO_ITEM]], 0, [{}]))

    def complete(
        self, user: str, items: Sequence[str], at: int | None, context: Mapping[str, object], updates: Updates
    ) -> Completed | None:
        """Returns the request; None if the generation isn't there any more."""
        days = [day for day in updates.days if day > self.generation.until]
        moment = self._moment(at)
        # What the caches have are ids as ingest reads them; reading these again changes nothing.
        if self._users.get(user) is None:
            user = ids_of([user], "user_id")[0]
        absent = self._absent(items)
        if NO_ITEM in items or absent:
            items = ids_of(items, "item_id")
            absent = self._absent(items)
        read = self._read_user(user, days, absent if self._spec.items else [])
        if read is None:
            return None
        stored, tail = read
        past = rows_until(stored.rows, moment), rows_until(tail, moment)
        values = last_features(past[1]) or stored.last
        values = {**values, **{f"feature:{name}": value for name, value in context.items()}}
        # One row stands for all candidates: the user's side, and when the request began, is the same for each.
        asking = self._impression(user, moment, values)
        rows = pa.concat_tables([*past, asking]).combine_chunks()
        both = self._items_of(items, [*dict.fromkeys(rows["item"].to_pylist())])
        if both is None:
            return None
        candidates, dealt_with = both[0], both[1].lookup()
        requests = request_times(self._spec, rows)
        asked = int(requests[-1])
        keys = KeyReader(self._spec, asking, stored.users, candidates)
        since = UserStatistics(self._spec, past[1], stored.users, dealt_with)
        by_user = {
            one.statistic.column: since.vectors(one, state, keys.of(one), asked)
            for one, state in zip(self._layout.by_user, stored.statistics, strict=True)
        }
        shared = self._shared(keys, asked, days, updates)
        if shared is None:
            return None
        sides = self._sides(rows, requests, stored.users, dealt_with, candidates, {**by_user, **shared})
        latest = max(self.generation.latest, updates.latest or 0)
        return Completed(
            *sides,
            not (len(stored.users.keys) or len(stored.rows) or len(tail)),
            candidates.unknown if self._spec.items else 0,
            (moment - latest) / self._spec.log.timestamp.ticks_per_second,
            moment,
            self.generation,
            updates,
        )

    def _impression(self, user: str, moment: int, features: Mapping[str, object]) -> pa.Table:
        """Returns the row of an impression of the request, as `ingest.rank_request.impressions` does."""
        changed = {"user": user, "time": moment, **features}
        columns = [
            pa.array([changed[field.name]], field.type) if field.name in changed else column
            for field, column in zip(self._asking.schema, self._asking.columns, strict=True)
        ]
        return pa.table(columns, self._asking.schema)

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

    def _read_user(self, user: str, days: Sequence[int], absent: Sequence[str]) -> tuple[_User, pa.Table] | None:
        """Returns a user's base and the rows since; candidates that are `absent` in the cache are read on the way.

        None if the generation isn't there any more.
        """
        generation, cached = self.generation, self._users.get(user)
        base = [generation.key(generations.USER, user)] if cached is None else []
        tails = [generations.tail_key(generation.digest, day, generations.USER, user) for day in days]
        item_keys = [generation.key(generations.ITEM, item) for item in absent]
        wanted = [*base, *tails, *item_keys]
        manifest, *values = self._store.read([generation.manifest, *wanted]) if wanted else (b"",)
        if manifest is None:
            return None
        self._add_items(absent, item_keys, values[len(base) + len(tails) :])
        if cached is None:
            cached = self._opened(user, base[0], values[0])
            self._users.add(user, cached)
        read = read_tails(self._layout, generation.digest, user, days, tails, values[len(base) :])
        return cached, pa.concat_tables([self._layout.log_schema.empty_table(), *read])

    def _opened(self, user: str, key: bytes, value: bytes | None) -> _User:
        by_user = self._layout.by_user
        if value is None:
            states = tuple(UserState.of(one, None) for one in by_user)
            return _User(self._layout.log_schema.empty_table(), {}, self._nobody, states)
        stored = self._layout.read_user(user, key, self._seal.open(key, value))
        states = tuple(UserState.of(one, state) for one, state in zip(by_user, stored.statistics, strict=True))
        rows = prepend_carried(self._layout.log_schema.empty_table(), stored.rows)
        assert rows is not None
        return _User(rows.combine_chunks(), stored.last, self._users_lookup(user, stored), states)

    def _absent(self, items: Sequence[str]) -> list[str]:
        with self._lock:
            return self._items.absent(dict.fromkeys(items))

    def _add_items(self, ids: Sequence[str], keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        contents = [
            None if value is None else self._seal.open(key, value) for key, value in zip(keys, values, strict=True)
        ]
        with self._lock:
            self._items.add(ids, keys, contents)

    def _items_of(self, ids: Sequence[str], dealt_with: Sequence[str]) -> tuple[Items, Items] | None:
        """Returns what is known of the candidates, and of the items that the user has dealt with.

        None if the generation isn't there any more.
        """
        while True:
            with self._lock:
                both = self._items.items(ids), self._items.items(dealt_with)
                absent = self._items.absent(dict.fromkeys([*ids, *dealt_with])) if None in both else []
            if both[0] is not None and both[1] is not None:
                return both[0], both[1]
            keys = [self.generation.key(generations.ITEM, item) for item in absent]
            values: Sequence[bytes | None] = [None] * len(keys)
            if self._spec.items:
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

    def _shared(
        self, keys: KeyReader, asked: int, days: Sequence[int], updates: Updates
    ) -> dict[str, np.ndarray] | None:
        """Returns the vectors of the other statistics, by their column; None if the generation isn't there any more.

        What was answered at the same edge is answered again, as long as no events from before it have come.
        """
        asks = []
        for one in self._layout.shared:
            of_request, edge = keys.of(one), edge_of(one, asked)
            cache = self._answers[one.statistic.name]
            answers = cache.at(edge, edge * one.spans.granularity, updates, of_request.epoch)
            place = answers.places(of_request)
            absent = np.unique(of_request.code[(place < 0) & (of_request.code >= 0)])
            asks.append((one, of_request, edge, answers, place, absent))
        names = {
            one.statistic.name: [of_request.texts[code] for code in absent.tolist()]
            for one, of_request, _, _, _, absent in asks
        }
        contents = self._read_keys(names, days) if any(names.values()) else {}
        if contents is None:
            return None
        result = {}
        for one, of_request, edge, answers, place, absent in asks:
            if len(absent):
                fold = Fold(merged(self._tiles(one, contents[one.statistic.name])), one.spans)
                answers.add(of_request, absent, *answers_at(one, fold, np.arange(len(absent)), edge))
                place = answers.places(of_request)
            result[one.statistic.column] = vectors(one, answers.sums, answers.latest, place, asked)
        return result

    def _tiles(self, definition: Definition, contents: Sequence[Sequence[bytes]]) -> list[Tiles]:
        """Returns the tiles of keys' bases and of each day's tails; a tile's key is its place."""
        name, windows = definition.statistic.name, bool(definition.statistic.windows)
        types = [self._layout.state_types[name], *[self._layout.tail_types[name]] * (len(contents) - 1)]
        tiles = []
        for dtype, values in zip(types, contents, strict=True):
            records, counts = read_records(dtype, [name.encode()] * len(values), values)
            tiles.append(tiles_of_records(records, np.repeat(np.arange(len(values)), counts), windows))
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
        self,
        rows: pa.Table,
        requests: np.ndarray,
        users: Lookup,
        dealt_with: Lookup,
        candidates: Items,
        statistics: Mapping[str, np.ndarray],
    ) -> tuple[dict[str, Any], dict[str, Sequence[Any] | np.ndarray]]:
        """Returns both sides; the last of `rows` is the request's, and `requests` their requests' times."""
        timelines = join(self._spec, rows)
        (which,) = np.flatnonzero(timelines.source[timelines.impressions] == rows.num_rows - 1)
        build = ExampleBuilder(
            self._spec, rows, timelines, users, dealt_with, columns=self._user_columns, requests=requests
        )
        built = build(np.array([which]))
        of_items = {ITEM_ID: candidates.ids, **candidates.values()}
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
