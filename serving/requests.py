"""The codec of requests: examples, rows and columns to the named arrays of each signature, and back.

Which tensors a signature takes, and how they are padded, is the contract's (`schema.served`).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import tensorflow as tf

from schema.columns import ExampleColumn
from schema.served import (
    EXAMPLES,
    EXPONENTS,
    ORDER,
    RANK,
    SCORE,
    ServedTensor,
    predict_inputs,
    rank_inputs,
    request_columns,
)
from schema.spec import RankingSpec

# One example by column name: a text (bytes), a number, or for a vector or a ragged column a sequence of them (of a
# behaviour's vectors one after the other).
Row: TypeAlias = Mapping[str, Any]
# Many examples by column name: for each, what a row holds.
Columns: TypeAlias = Mapping[str, Sequence[Any] | np.ndarray]
# A request by the names of a signature's tensors; texts are bytes in arrays of objects.
Inputs: TypeAlias = dict[str, np.ndarray]

_LISTS = {"string": "bytes_list", "float": "float_list", "int": "int64_list"}


class ExponentError(ValueError):
    """An exponent that the fused score can't have; the message says of which task."""


class UnknownTaskError(ExponentError):
    """An exponent for a task that the spec doesn't have."""


@dataclass(frozen=True)
class Ranking:
    """What `rank` answers of N candidates.

    Attributes:
      tasks: each task's output, float32 `[N]`.
      score: the fused score `prod_k p_k^w_k`, float32 `[N]` (PLE, eq. 1).
      order: candidates' places, best score first, `[N]`.
    """

    tasks: dict[str, np.ndarray]
    score: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, outputs: Mapping[str, np.ndarray]) -> Self:
        """Reads the outputs of `rank` by name.

        Raises:
          ValueError: the score or the order isn't among them.
        """
        missing = {SCORE, ORDER} - outputs.keys()
        if missing:
            raise ValueError(f"the answer of `{RANK}` has no {', '.join(sorted(missing))}")
        tasks = {name: values for name, values in outputs.items() if name not in (SCORE, ORDER)}
        return cls(tasks, outputs[SCORE], outputs[ORDER].astype(np.int64))


def read_rows(spec: RankingSpec, records: Sequence[bytes]) -> list[Row]:
    """Reads the rows in serialised tf.Examples.

    Raises:
      ValueError: a column that isn't ragged holds another number of values than it is wide.
    """
    columns = request_columns(spec)
    return [_read_row(columns, index, record) for index, record in enumerate(records)]


def write_record(spec: RankingSpec, row: Row) -> bytes:
    """Writes a row as a serialised tf.Example without targets."""
    example = tf.train.Example()
    for column in request_columns(spec):
        is_list = column.ragged or column.width is not None
        values = row[column.name] if is_list else [row[column.name]]
        getattr(example.features.feature[column.name], _LISTS[column.dtype]).value.extend(values)
    return example.SerializeToString()


def combine(spec: RankingSpec, user: Row, item: Row) -> Row:
    """Returns the row that pairs the user's side of `user` with the item's side of `item`."""
    return {column.name: (item if column.side == "item" else user)[column.name] for column in request_columns(spec)}


def columns_of_rows(spec: RankingSpec, rows: Sequence[Row]) -> Columns:
    """Returns the columns of the rows."""
    return {column.name: [row[column.name] for row in rows] for column in request_columns(spec)}


def examples_request(records: Sequence[bytes] | np.ndarray) -> Inputs:
    """Returns the inputs of `serving_default` for serialised tf.Examples."""
    return {EXAMPLES: np.array(records, object)}


def predict_request(spec: RankingSpec, rows: Columns, names: Collection[str] | None = None) -> Inputs:
    """Returns the inputs of `predict` for the examples in `rows`.

    Args:
      names: the columns that the model takes; by default those of the contract.
    """
    return {tensor.name: encode(tensor, rows[tensor.name]) for tensor in predict_inputs(spec, names)}


def rank_request(
    spec: RankingSpec,
    user: Row,
    candidates: Columns,
    exponents: Sequence[float] | np.ndarray | None = None,
    names: Collection[str] | None = None,
) -> Inputs:
    """Returns the inputs of `rank` for the user's side of `user` and the item's side of each of the `candidates`.

    Args:
      exponents: `w_k` of the fused score, a number per task; None leaves them out, and the model's own hold.
      names: the columns that the model takes; by default those of the contract.
    """
    inputs = {
        tensor.name: encode(tensor, (candidates if tensor.side == "item" else user)[tensor.name])
        for tensor in rank_inputs(spec, names)
    }
    return inputs if exponents is None else with_exponents(inputs, exponents)


def with_exponents(inputs: Mapping[str, np.ndarray], exponents: Sequence[float] | np.ndarray) -> Inputs:
    """Returns a request of `rank` with the tasks' exponents in it."""
    return {**inputs, EXPONENTS: np.asarray(exponents, np.float32)}


def exponents(spec: RankingSpec, chosen: Mapping[str, float]) -> np.ndarray:
    """Returns the exponents `w_k` of the fused score `prod_k p_k^w_k` (PLE, eq. 1), the spec's where `chosen` has none.

    Raises:
      UnknownTaskError: `chosen` names something else than a task.
      ExponentError: one isn't finite, or isn't 0 though the task's output may be negative.
    """
    tasks = {task.name: task for task in spec.tasks}
    for name, power in chosen.items():
        if name not in tasks:
            raise UnknownTaskError(f"exponent: no task {name!r}, expected one of {', '.join(tasks)}")
        if not math.isfinite(power):
            raise ExponentError(f"exponent of {name}: got {power}, expected a finite number")
        if power and not tasks[name].takes_exponent:
            raise ExponentError(f"exponent of {name}: got {power:g}, expected 0: its output may be negative, no power")
    return np.array([chosen.get(task.name, task.exponent) for task in spec.tasks], np.float32)


def encode(tensor: ServedTensor, values: Any) -> np.ndarray:
    """Returns the array of a served tensor: `values` of its type, lists filled up with its padding to the longest."""
    dtype = object if tensor.dtype == "string" else np.dtype(tensor.dtype)
    if tensor.padding is None:
        array = np.asarray(values, dtype)
        # No vectors have a width too.
        return array.reshape(-1, *tensor.shape[1:]) if tensor.shape[1:] else array
    padded = np.full((len(values), max(map(len, values), default=0)), tensor.padding, dtype)
    for row, row_values in zip(padded, values, strict=True):
        row[: len(row_values)] = row_values
    return padded


def _read_row(columns: Sequence[ExampleColumn], index: int, record: bytes) -> Row:
    features = tf.train.Example.FromString(record).features.feature
    row: dict[str, Any] = {}
    for column in columns:
        values = list(getattr(features[column.name], _LISTS[column.dtype]).value)
        if not column.ragged and len(values) != (column.width or 1):
            expected = column.width or "one"
            raise ValueError(f"example {index}: {column.name!r} holds {len(values)} values, expected {expected}")
        row[column.name] = values[0] if not column.ragged and column.width is None else values
    return row
