"""Reads what a rank request holds from the logs: one user's columns at a moment, and the candidates'.

The user's side is that of an artificial impression at that moment, read, joined and built by ingest's own functions, so
that what is asked of a served model can't drift away from what the model was trained on.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.clock import with_precision
from ingest.duplicates import without_digests, without_duplicates
from ingest.examples import ExampleBuilder, Lookup
from ingest.kinds import reader_of
from ingest.raw import RawBatch
from ingest.rows import columns_of, parse, read_source
from ingest.sources import SourceFile
from ingest.statistics.answers import vectors_of
from ingest.timeline import join
from ingest.times import times
from ingest.values import Column, Rejects
from ingest.windows.window import files_to_read, times_of
from schema.columns import ITEM_ID, ExampleColumn, input_columns
from schema.files import even
from schema.spec import Feature, RankingSpec

# What the artificial impression is of; it doesn't reach the user's side.
NO_ITEM = ""
# Which request the artificial impressions are of: no text of a log holds a NUL byte.
_NO_REQUEST = "\0"


class RequestError(ValueError):
    """A request that can't be built as asked; the message says of what, and what was expected."""


@dataclass(frozen=True)
class RequestLogs:
    """The rows of the logs that requests are built from, typed as ingest types them.

    Attributes:
      log: the rows of `rows.parse`.
      users, items: the tables, ready to be joined.
    """

    spec: RankingSpec
    log: pa.Table
    users: Lookup
    items: Lookup

    @classmethod
    def read(
        cls,
        spec: RankingSpec,
        logs: str,
        users: Collection[str] | None = None,
        items: Collection[str] = (),
        window: str | None = None,
        at: int | None = None,
    ) -> Self:
        """Streams the files that `spec` names in the folder `logs`, and keeps what the requests need.

        Args:
          users: whose requests they will be; None keeps the rows of all. Ids that the logs don't have are no error.
          items: the candidates. Of the items table, these and what the users have dealt with are kept.
          window: the days to read of logs in daily folders; by default all. Of daily tables the last one counts.
          at: the moment of the requests, in ticks, where it is known: no later day is read.

        Raises:
          IngestError: a file is absent, can't be read, or lacks a column.
          RequestError: one of `items` is empty or can't be an id.
        """
        files: dict[str, list[SourceFile]] = {"log": []}
        for file in files_to_read(spec, logs, window, at):
            files.setdefault(file.source, []).append(file)
        spec = with_precision(spec, files["log"])
        whose = None if users is None else pa.array([even(user) for user in users], pa.string())
        # Statistics of items and of pairs count everybody's rows.
        log = _rows(spec, "log", files["log"], "user", None if spec.statistics else whose)
        touched = None
        if whose is not None and not spec.statistics:
            touched = pa.concat_arrays([pc.unique(log["item"]), candidate_ids(list(items))])
        tables = {
            source: _rows(spec, source, _of_the_last_day(files[source]), "key", keys)
            for source, keys in (("users", None if spec.statistics else whose), ("items", touched))
            if source in files
        }
        return cls(
            spec, log, Lookup.of(spec, "users", tables.get("users")), Lookup.of(spec, "items", tables.get("items"))
        )

    def user_columns(
        self, user: str, at: int | None = None, context: Mapping[str, str | None] | None = None
    ) -> dict[str, Any]:
        """Returns the user's columns: single values (bytes or a number), ragged ones as arrays `[n]`, newest last.

        Behaviours are those known strictly before `at`. Features from the log are those of the user's last row until
        then; an unknown user has none, and no past.

        Args:
          at: ticks of the log's clock; by default just after the user's last row, or now for a user without any.
          context: values of features from the log in place of the last row's, as text; None is a missing one.

        Raises:
          RequestError: `context` names something else than a feature from the log, or has a value that isn't one.
        """
        user = even(user)
        rows, at, values = self._until(user, at, context)
        table = pa.concat_tables([rows, impressions(rows.schema, [user], [[NO_ITEM]], at, [values])])
        timelines = join(self.spec, table)
        (which,) = np.flatnonzero(timelines.source[timelines.impressions] == len(rows))
        built = ExampleBuilder(self.spec, table, timelines, self.users, self.items)(np.array([which]))
        vectors = self._vectors([user], [[NO_ITEM]], at, [values])
        return {
            column.name: (
                vectors[column.name] if column.name in vectors else column_values(column, built[column.name])
            )[0]
            for column in self._columns("user")
        }

    def candidate_columns(
        self,
        item_ids: Sequence[str],
        user: str | None = None,
        at: int | None = None,
        context: Mapping[str, str | None] | None = None,
    ) -> dict[str, Sequence[Any] | np.ndarray]:
        """Returns the candidates' columns, N values each; those of multi-valued columns are arrays.

        Args:
          user, at, context: whose request it is, as of `user_columns`: statistics depend on it, nothing else does.

        Raises:
          RequestError: an id is empty or can't be one, or there are statistics and no user.
        """
        ids = candidate_ids(item_ids)
        built = {ITEM_ID: ids, **self.items.at(ids)}
        columns = list(self._columns("item"))
        vectors: dict[str, np.ndarray] = {}
        if any(column.role == "statistic" for column in columns):
            if user is None:
                raise RequestError("user: expected the one who asks, on whom the statistics depend, got none")
            user = even(user)
            _, at, values = self._until(user, at, context)
            vectors = self._vectors([user], [ids.to_pylist()], at, [values])
        return {
            column.name: vectors[column.name] if column.name in vectors else column_values(column, built[column.name])
            for column in columns
        }

    def _until(
        self, user: str, at: int | None, context: Mapping[str, str | None] | None
    ) -> tuple[pa.Table, int, dict[str, object]]:
        """Returns the user's rows up to a request, its moment, and the features that its impressions have."""
        rows = self._rows_of(user)
        time = rows["time"].to_numpy()
        if at is not None:
            at *= self.spec.log.timestamp.ticks_per_example_tick
        else:
            at = int(time.max()) + 1 if len(time) else _now(self.spec)
        rows = rows.filter(pa.array(time <= at))
        return rows, at, _last_values(rows) | typed_context(self.spec, context or {})

    def _vectors(
        self, users: Sequence[str], item_ids: Sequence[Sequence[str]], at: int, values: Sequence[Mapping[str, object]]
    ) -> dict[str, np.ndarray]:
        """Returns each statistic's vectors, `[N, width]`, as of requests: of impressions that nothing counts yet.

        N is the number of all users' items, those of one after those of the one before.
        """
        if not self.spec.statistics:
            return {}
        asking = impressions(self.log.schema, users, item_ids, at, values)
        rows = pa.concat_tables([self.log, asking]).combine_chunks()
        vectors = vectors_of(self.spec, rows, lambda _: self.users, lambda _: self.items)
        request_rows = np.arange(self.log.num_rows, rows.num_rows)
        return {name: statistic.take(request_rows) for name, statistic in vectors.items()}

    def _columns(self, side: str) -> Iterator[ExampleColumn]:
        return (column for column in input_columns(self.spec) if column.side == side)

    def _rows_of(self, user: str) -> pa.Table:
        start, stop = self._places.get(user, (0, 0))
        return self.log.take(self._order[start:stop])

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self._user_codes[1], kind="stable")

    @cached_property
    def _user_codes(self) -> tuple[list[str], np.ndarray]:
        encoded = self.log["user"].combine_chunks().dictionary_encode()
        return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """Returns where each user's rows start and stop in `_order`."""
        users, codes = self._user_codes
        edges = np.concatenate(([0], np.cumsum(np.bincount(codes, minlength=len(users))))).tolist()
        return {user: (edges[i], edges[i + 1]) for i, user in enumerate(users)}


def candidate_ids(item_ids: Sequence[str]) -> pa.Array:
    """Returns the ids as ingest would read them from a log.

    Raises:
      RequestError: an id is empty or can't be one.
    """
    rejects = Rejects(len(item_ids))
    ids = Column("candidates", pa.array(item_ids, pa.string()), rejects).ids()
    if rejects.reasons:
        row, (_, reason) = min(rejects.reasons.items())
        raise RequestError(f"candidate {row + 1}: {reason}")
    return ids


def ticks(spec: RankingSpec, text: str) -> int:
    """Returns a moment in ticks of the examples' clock.

    Args:
      text: a whole number as the log has it, or an ISO 8601 time (of the log's time zone if it names none).

    Raises:
      RequestError: it is neither, or no time that a log may have.
    """
    clock = spec.log.timestamp
    unit = "ms" if clock.is_text else clock.unit
    as_numbers = clock.model_copy(update={"unit": unit, "format": None})
    value: str | int = text
    if not text.lstrip("-").isdigit():
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            expected = f"an ISO 8601 time or a whole number of {unit}"
            raise RequestError(f"time: expected {expected}, got {text!r:.80}") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=clock.zone)
        value = round(moment.timestamp() * clock.example_ticks_per_second)
        as_numbers = as_numbers.model_copy(update={"origin": None})
    rejects = Rejects(1)
    (result,) = times(Column("time", pa.array([str(value)]), rejects), as_numbers)
    if rejects.reasons:
        raise RequestError(rejects.reasons[0][1])
    return int(result) // clock.ticks_per_example_tick


def _of_the_last_day(files: list[SourceFile]) -> list[SourceFile]:
    last = max((file.day for file in files if file.day), default=None)
    return [file for file in files if file.day == last]


def _rows(spec: RankingSpec, source: str, files: Iterable[SourceFile], column: str, keys: pa.Array | None) -> pa.Table:
    """Reads the typed rows of a source whose `column` is among `keys`; batches are filtered as they come."""
    names = columns_of(spec, source)
    empty = RawBatch("", np.zeros(0, np.int64), {name: pa.array([], pa.string()) for name in names})
    tables = [parse(spec, source, empty)[0]]
    for file in files:
        for batch in read_source(spec, file):
            table, _, _ = parse(spec, source, batch, times_of(spec, file))
            tables.append(table if keys is None else table.filter(pc.is_in(table[column], value_set=keys)))
    return without_digests(without_duplicates(pa.concat_tables(tables).combine_chunks())[0])


def _now(spec: RankingSpec) -> int:
    return int(datetime.now(UTC).timestamp() * spec.log.timestamp.ticks_per_second)


def _last_values(rows: pa.Table) -> dict[str, object]:
    """Returns the features of the latest row, of equally late ones the last."""
    if rows.num_rows == 0:
        return {}
    time = rows["time"].to_numpy()
    last = rows.num_rows - 1 - int(np.argmax(time[::-1]))
    return {name: rows[name][last].as_py() for name in rows.column_names if name.startswith("feature:")}


def typed_context(spec: RankingSpec, context: Mapping[str, str | None]) -> dict[str, object]:
    """Returns the values of `context` by the typed rows' columns."""
    settable = {feature.name: feature for feature in spec.features_of("log") if not feature.derive}
    for name in context:
        if name not in settable:
            names = ", ".join(settable) or "none"
            raise RequestError(f"{name}: is not a feature that the request may set, expected one from the log: {names}")
    return {f"feature:{name}": _typed(settable[name], text) for name, text in context.items()}


def _typed(feature: Feature, text: str | None) -> object:
    try:
        return reader_of(feature).parse_text(feature, text)
    except ValueError as error:
        raise RequestError(str(error)) from None


def impressions(
    schema: pa.Schema,
    users: Sequence[str],
    items: Sequence[Sequence[str]],
    at: int,
    features: Sequence[Mapping[str, object]],
) -> pa.Table:
    """Returns a row for each user's each item, impressions without feedback.

    (0 is also the place of the event that opens an example.)
    """
    owner = pa.array(np.repeat(np.arange(len(users)), [len(ids) for ids in items]))
    shared: dict[str, list[object]] = {
        "user": list(users),
        "time": [at] * len(users),
        "request": [_NO_REQUEST] * len(users),
    }
    arrays = []
    for column in schema:
        if column.name == "item":
            arrays.append(pa.array([item for ids in items for item in ids], column.type))
            continue
        values: list[object] = [0] * len(users)
        if column.name.startswith("feature:"):
            values = [by_name.get(column.name) for by_name in features]
        elif column.name in shared:
            values = shared[column.name]
        values = [bool(value) for value in values] if pa.types.is_boolean(column.type) else values
        arrays.append(pa.array(values, column.type).take(owner))
    return pa.table(arrays, schema=schema)


def column_values(column: ExampleColumn, built: pa.Array) -> Sequence[Any] | np.ndarray:
    """Returns a column's values, one a row; vectors as `[N, width]`."""
    if column.ragged:
        values, edges = _numpy(built.flatten()), built.offsets.to_numpy()
        return [values[start - edges[0] : stop - edges[0]] for start, stop in pairwise(edges.tolist())]
    return _numpy(built) if column.width is None else _numpy(built.flatten()).reshape(-1, column.width)


def position_values(values: pa.Array) -> np.ndarray:
    """Returns a behaviour's values, one a position, as `column_values` does; of vectors their numbers."""
    return _numpy(values.flatten() if pa.types.is_fixed_size_list(values.type) else values)


def _numpy(values: pa.Array) -> np.ndarray:
    """Returns float32, int64, or object with bytes."""
    if pa.types.is_string(values.type):
        return values.cast(pa.binary()).to_numpy(zero_copy_only=False)
    return values.to_numpy(zero_copy_only=False)
