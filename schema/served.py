"""The served contract: the signatures' names, and the name, type, shape and padding of each tensor that they hold.

Data alone: `models.export` makes TensorFlow's signatures of it, and `serving.requests` the arrays of a request. What
changes here changes what clients send and read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, TypeAlias

from schema.columns import ITEM_ID, ExampleColumn, example_columns, input_columns

if TYPE_CHECKING:
    from schema.spec import RankingSpec

# Below the SavedModel's folder: the ranking spec that the model was trained by.
SPEC_FILE = PurePosixPath("assets.extra/ranking_spec.json")

# The signatures. The first is what TensorFlow Serving runs for a request that names none.
SERVING_DEFAULT, PREDICT, RANK = "serving_default", "predict", "rank"
# The inputs that are no columns: serialised tf.Examples, and the tasks' powers `w_k` in the score (PLE, eq. 1).
EXAMPLES, EXPONENTS = "examples", "exponents"
# The outputs of `rank` that are no task's.
SCORE, ORDER = "score", "order"

# By NumPy's and TensorFlow's names.
Dtype: TypeAlias = Literal["string", "float32", "int64", "int32"]

_DTYPES: dict[str, Dtype] = {"string": "string", "float": "float32", "int": "int64"}


@dataclass(frozen=True)
class ServedTensor:
    """One tensor of a request or an answer.

    Attributes:
      shape: its sizes; None where the request decides: the number of examples, of candidates, of a list's values.
      side: whose values a column of `rank` has; None for what is no column.
      padding: the value that fills the rows of a list up to the longest; None where nothing is filled up.
      mask: the tensor of the same request that is empty (`b""`) where this one is padding; other values there are
        not read.
    """

    name: str
    dtype: Dtype
    shape: tuple[int | None, ...]
    side: Literal["user", "item", "target"] | None = None
    padding: bytes | float | int | None = None
    mask: str | None = None


@dataclass(frozen=True)
class ServedSignature:
    """What a signature takes and returns."""

    inputs: tuple[ServedTensor, ...]
    outputs: tuple[ServedTensor, ...]


def signatures(spec: RankingSpec) -> dict[str, ServedSignature]:
    """Returns the signatures of a ranker of `spec` by name; without `rank` where it reads nothing of the candidates."""
    inputs = {SERVING_DEFAULT: (examples_input(),), PREDICT: predict_inputs(spec)}
    ranked = rank_inputs(spec)
    if any(tensor.side == "item" for tensor in ranked):
        inputs[RANK] = (*ranked, exponents_input(spec))
    return {name: ServedSignature(tensors, outputs(spec, name)) for name, tensors in inputs.items()}


def examples_input() -> ServedTensor:
    """Returns the input of `serving_default`: serialised tf.Examples `(B,)`; columns that aren't read may be absent."""
    return ServedTensor(EXAMPLES, "string", (None,))


def exponents_input(spec: RankingSpec) -> ServedTensor:
    """Returns the input of `rank` beside the columns: a power for each task `(T,)`, by default the spec's."""
    return ServedTensor(EXPONENTS, "float32", (len(spec.tasks),))


def predict_inputs(spec: RankingSpec, names: Collection[str] | None = None) -> tuple[ServedTensor, ...]:
    """Returns the columns that `predict` takes of B examples: `(B,)`, vectors `(B, width)`, lists `(B, m)`, padded.

    A behaviour's vectors are one list too, `width` numbers a position, so that JSON can write one that is empty.

    Args:
      names: the columns of a model that reads others; by default those that the ranker of `spec` reads, and of each
        behaviour the item ids, which say where its padding is, even where the ranker doesn't read them.
    """
    if names is None:
        read = {column.name for column in input_columns(spec)}
        names = read | {_positions(behaviour.name) for behaviour in spec.behaviours}
    return tuple(_of_examples(column) for column in request_columns(spec) if column.name in names)


def rank_inputs(spec: RankingSpec, names: Collection[str] | None = None) -> tuple[ServedTensor, ...]:
    """Returns the columns that `rank` takes of one user and N candidates.

    The user's single values are scalars, its vectors `(width,)` and its lists `(n,)`. The candidates' single values are
    `(N,)`, their vectors `(N, width)`, and their lists `(N, m)`, padded.

    Args:
      names: the columns of a model that reads others; by default those that the ranker of `spec` reads.
    """
    if names is None:
        names = {column.name for column in input_columns(spec)}
    columns = [column for column in request_columns(spec) if column.name in names]
    return tuple(_of_examples(column) if column.side == "item" else _of_user(column) for column in columns)


def outputs(spec: RankingSpec, signature: str) -> tuple[ServedTensor, ...]:
    """Returns what a signature answers: each task's output `(B, 1)`; of `rank`, `(N,)`, the score and the order too.

    The order is the candidates' places, the best score's first.
    """
    shape = (None,) if signature == RANK else (None, 1)
    tasks = tuple(ServedTensor(task.name, "float32", shape) for task in spec.tasks)
    if signature != RANK:
        return tasks
    return (*tasks, ServedTensor(SCORE, "float32", shape), ServedTensor(ORDER, "int32", shape))


def request_columns(spec: RankingSpec) -> tuple[ExampleColumn, ...]:
    """Returns the columns that the request of any ranker may hold: all but the targets."""
    return tuple(column for column in example_columns(spec) if column.side != "target")


def _of_examples(column: ExampleColumn) -> ServedTensor:
    """Returns the tensor of a column of many rows."""
    dtype = _DTYPES[column.dtype]
    if not column.ragged:
        return ServedTensor(column.name, dtype, (None, *_vector(column)), column.side)
    mask = _positions(column.behaviour) if column.behaviour else column.name
    return ServedTensor(column.name, dtype, (None, None), column.side, column.padding, mask)


def _of_user(column: ExampleColumn) -> ServedTensor:
    """Returns the tensor of a column of one row."""
    shape = (None,) if column.ragged else _vector(column)
    return ServedTensor(column.name, _DTYPES[column.dtype], shape, column.side)


def _vector(column: ExampleColumn) -> tuple[int, ...]:
    """Returns the shape of a value."""
    return () if column.width is None else (column.width,)


def _positions(behaviour: str) -> str:
    """Returns the column of a behaviour that is never empty at a position."""
    return f"{behaviour}_{ITEM_ID}"
