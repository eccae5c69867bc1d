"""Makes requests for a model to be tried with, of real examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import numpy as np

from schema.served import PREDICT, RANK, request_columns
from schema.spec import RankingSpec
from serving.requests import (
    Inputs,
    Row,
    columns_of_rows,
    combine,
    examples_request,
    predict_request,
    rank_request,
    read_rows,
    write_record,
)

# A text that no vocabulary has.
UNKNOWN = b"__unknown__"


def cold_row(spec: RankingSpec) -> Row:
    """Returns the row of a user and an item that nobody has seen: unknown ids and values, missing numbers, no past."""
    row: dict[str, Any] = {}
    for column in request_columns(spec):
        # Only a timestamp, which no model reads, is neither a text nor ever missing.
        value = UNKNOWN if column.dtype == "string" else 0 if column.missing is None else column.missing
        row[column.name] = [] if column.ragged else value if column.width is None else [value] * column.width
    return row


@dataclass(frozen=True)
class SampleRequests:
    """Makes requests of real examples.

    Attributes:
      records: serialised examples, at least one.
      inputs: the names of the inputs of each signature that the model has.
      rows: the examples read.
    """

    spec: RankingSpec
    records: Sequence[bytes]
    inputs: Mapping[str, Sequence[str]]
    rows: Sequence[Row] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.records:
            raise ValueError("expected at least one example, got none")
        object.__setattr__(self, "rows", read_rows(self.spec, self.records))

    def default(self, records: Sequence[bytes]) -> Inputs:
        """Returns the inputs of `serving_default` for serialised examples."""
        return examples_request(records)

    def pairs(self, user: Row, candidates: Sequence[Row]) -> Inputs:
        """Returns the inputs of `serving_default` for the user with each of the candidates, as full examples."""
        return self.default([write_record(self.spec, combine(self.spec, user, item)) for item in candidates])

    def predict(self, rows: Sequence[Row]) -> Inputs:
        """Returns the inputs of the model's `predict` for the rows."""
        return predict_request(self.spec, columns_of_rows(self.spec, rows), self.inputs[PREDICT])

    def rank(self, user: Row, candidates: Sequence[Row], exponents: Sequence[float] | None = None) -> Inputs:
        """Returns the inputs of the model's `rank`; without exponents the model's own hold, which are the spec's."""
        columns = columns_of_rows(self.spec, candidates)
        return rank_request(self.spec, user, columns, exponents, self.inputs[RANK])

    def users(self, count: int) -> list[Row]:
        """Returns up to `count` of the rows, evenly apart."""
        indices = np.linspace(0, len(self.rows) - 1, min(count, len(self.rows))).astype(int)
        return [self.rows[index] for index in indices]

    def candidates(self, count: int, start: int = 0) -> list[Row]:
        """Returns `count` rows from index `start` on, from the beginning again where they end."""
        return list(islice(cycle(self.rows), start % len(self.rows), start % len(self.rows) + count))
