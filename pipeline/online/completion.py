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
from ingest.rank_request import NO_ITEM, RequestError, column_values, impressions, position_values
from ingest.statistics.requests import START, request_times, with_start
from ingest.timeline import join
from ingest.windows.carried import prepend_carried
from pipeline.online import generations
from pipeline.online.cache import ItemCache, Items, Recent
from pipeline.online.generations import Generation, Updates
from pipeline.online.shared_statistics import SharedStatistics
from pipeline.online.statistics import KeyReader, UserState, UserStatistics
from pipeline.online.user_rows import ids_of, last_features, read_tails, rows_until
from pipeline.online.values import Layout, Seal, StoredUser
from schema.columns import ITEM_ID, example_columns, input_columns
from schema.spec import RankingSpec
from serving.store.protocol import OnlineStore, StoreUnavailableError

# What a process keeps at most, of items and of users.
_MOST_ITEMS, _MOST_USERS = 500_000, 1_000
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
        reader = self._reader
        if reader is None or not reader.remembers(user):
            user = ids_of([user], "user_id")[0]
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
        self._shared = SharedStatistics(store, generation, self._layout, self._seal)
        self._users = Recent[_User](_MOST_USERS)
        self._lock = threading.Lock()
        self._columns = input_columns(self._spec)
        of_user = {column.name for column in self._columns if column.side == "user"}
        self._user_columns = tuple(column for column in example_columns(self._spec) if column.name in of_user)
        self._nobody = Lookup.of(self._spec, "users", None)
        schema = self._layout.log_schema
        if START in schema.names:
            schema = schema.remove(schema.get_field_index(START))
        self._asking = with_start(self._spec, impressions(schema, [""], [[NO_ITEM]], 0, [{}]))

    def remembers(self, user: str) -> bool:
        """Returns whether a user's base is in memory, whose id is then as ingest reads it."""
        return self._users.get(user) is not None

    def complete(
        self, user: str, items: Sequence[str], at: int | None, context: Mapping[str, object], updates: Updates
    ) -> Completed | None:
        """Returns the request; None if the generation isn't there any more."""
        days = [day for day in updates.days if day > self.generation.until]
        moment = self._moment(at)
        # What the cache has are ids as ingest reads them; reading these again changes nothing.
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
        request_time = int(requests[-1])
        keys = KeyReader(self._spec, asking, stored.users, candidates)
        since = UserStatistics(self._spec, past[1], stored.users, dealt_with)
        by_user = {
            definition.statistic.column: since.vectors(definition, state, keys.of(definition), request_time)
            for definition, state in zip(self._layout.by_user, stored.statistics, strict=True)
        }
        shared = self._shared.vectors(keys, request_time, days, updates)
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
        keys = [*base, *tails, *item_keys]
        manifest, *values = self._store.read([generation.manifest, *keys]) if keys else (b"",)
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
            states = tuple(UserState.of(definition, None) for definition in by_user)
            return _User(self._layout.log_schema.empty_table(), {}, self._nobody, states)
        stored = self._layout.read_user(user, key, self._seal.open(key, value))
        states = tuple(
            UserState.of(definition, state) for definition, state in zip(by_user, stored.statistics, strict=True)
        )
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
        built, positions = build(np.array([which]), with_behaviours=False), build.positions_of(int(which))
        of_items = {ITEM_ID: candidates.ids, **candidates.values()}
        user_side: dict[str, Any] = {}
        item_side: dict[str, Sequence[Any] | np.ndarray] = {}
        for column in self._columns:
            values = statistics.get(column.name)
            if column.side == "item":
                item_side[column.name] = of_items[column.name] if values is None else values
            elif column.behaviour is not None:
                user_side[column.name] = position_values(positions[column.name])
            else:
                user_side[column.name] = (column_values(column, built[column.name]) if values is None else values)[0]
        return user_side, item_side
