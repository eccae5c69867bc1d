"""Logs that grow while a service runs: the requests of many users at a moment, and the rows that follow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeAlias

import numpy as np
import pyarrow as pa

from ingest.duplicates import without_duplicates
from ingest.examples import ExampleBuilder
from ingest.formats import RawBatch
from ingest.rank_request import NO_ITEM, RequestError, RequestLogs, candidate_ids, column_values, impressions
from ingest.rows import columns_of, parse
from ingest.timeline import join
from schema.columns import ITEM_ID

# One side of a request by column: of the user single values or arrays, of the N candidates N values each.
UserColumns: TypeAlias = dict[str, Any]
CandidateColumns: TypeAlias = dict[str, Sequence[Any] | np.ndarray]


@dataclass(frozen=True)
class Ask:
    """One user's request: the candidates' ids, and values of features from the log as `user_columns` takes them."""

    user: str
    item_ids: Sequence[str]
    context: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class LiveLogs(RequestLogs):
    """The rows of the logs, and of what has been shown since."""

    def requests(self, asks: Sequence[Ask], at: int) -> list[tuple[UserColumns, CandidateColumns]]:
        """Returns both sides of requests of the same moment, as `user_columns` and `candidate_columns` have them.

        The past is gone through once and not for every user. None of the requests is counted in the statistics of
        another, since only what lies strictly before their moment is.

        Raises:
          RequestError: two requests are of the same user, or one can't be built as asked.
        """
        users = [ask.user for ask in asks]
        if len(set(users)) < len(users):
            raise RequestError("users: expected one request of each, got several of one")
        pasts, _, contexts = zip(*(self._until(ask.user, at, ask.context) for ask in asks), strict=True)
        user_side = self._user_side(users, pa.concat_tables(pasts), at, contexts)
        ids = [candidate_ids(ask.item_ids) for ask in asks]
        item_side = self._item_side(users, ids, at, contexts)
        edges = np.cumsum([0, *map(len, ids)])
        return [
            (
                {name: column[i] for name, column in user_side.items()},
                {name: column[edges[i] : edges[i + 1]] for name, column in item_side.items()},
            )
            for i in range(len(asks))
        ]

    def with_rows(self, columns: Mapping[str, pa.Array]) -> Self:
        """Returns the logs with rows after their last one, by the log's own columns; they are read as a file's are.

        Raises:
          RequestError: a row can't be used.
        """
        table = self.typed(columns)
        return replace(self, log=pa.concat_tables([self.log, table]).combine_chunks())

    def typed(self, columns: Mapping[str, pa.Array]) -> pa.Table:
        """Returns rows of the log as `rows.parse` types them, by the log's own columns.

        Raises:
          RequestError: a row can't be used.
        """
        names = list(columns_of(self.spec, "log"))
        if missing := [name for name in names if name not in columns]:
            raise RequestError(f"new rows: expected the columns that the spec reads, got none of {', '.join(missing)}")
        batch = RawBatch("", np.arange(len(columns[names[0]])), {name: columns[name] for name in names})
        table, bad, _ = parse(self.spec, "log", batch)
        if bad:
            raise RequestError(f"row {bad[0].row + 1} of the new rows: {bad[0].reason}")
        return without_duplicates(table)[0]

    def _user_side(
        self, users: Sequence[str], pasts: pa.Table, at: int, contexts: Sequence[Mapping[str, object]]
    ) -> dict[str, Sequence[Any] | np.ndarray]:
        """Returns the user's columns, a value for each of the `users`, whose rows are `pasts`."""
        nothing = [[NO_ITEM]] * len(users)
        rows = pa.concat_tables([pasts, impressions(pasts.schema, users, nothing, at, contexts)])
        timelines = join(self.spec, rows)
        source = timelines.source[timelines.impressions]
        asking = np.flatnonzero(source >= len(pasts))
        asking = asking[np.argsort(source[asking])]
        built = ExampleBuilder(self.spec, rows, timelines, self.users, self.items)(asking)
        vectors = self._vectors(users, nothing, at, contexts)
        return {
            column.name: vectors[column.name] if column.name in vectors else column_values(column, built[column.name])
            for column in self._columns("user")
        }

    def _item_side(
        self, users: Sequence[str], ids: Sequence[pa.Array], at: int, contexts: Sequence[Mapping[str, object]]
    ) -> CandidateColumns:
        """Returns the candidates' columns, those of one user after those of the one before."""
        vectors = self._vectors(users, [column.to_pylist() for column in ids], at, contexts)
        every_id = pa.concat_arrays(ids)
        built = {ITEM_ID: every_id, **self.items.at(every_id)}
        return {
            column.name: vectors[column.name] if column.name in vectors else column_values(column, built[column.name])
            for column in self._columns("item")
        }
