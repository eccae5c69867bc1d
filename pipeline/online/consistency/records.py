"""Reads the requests that a gateway has logged (`serving.gateway.request_log`)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from pipeline.online.gateway import context_of
from pipeline.online.origin import Origin
from pipeline.online.user_rows import ids_of
from schema.columns import ITEM_ID, USER_ID
from schema.served import ServedTensor
from schema.spec import RankingSpec


class RecordError(ValueError):
    """A line that isn't a logged request; the message says why."""


@dataclass(frozen=True)
class Served:
    """A request as it was answered.

    Attributes:
      line: its place in the file, from 1 on.
      user, items: as logs have them.
      context: typed values of features from the log that the request brought.
      degraded: why it was answered without the store; None where it was answered from it.
      inputs: what the store brought, by column.
    """

    line: int
    user: str
    items: list[str]
    context: dict[str, object]
    degraded: str | None
    origin: Origin
    inputs: dict[str, np.ndarray]

    @classmethod
    def of(cls, spec: RankingSpec, tensors: Mapping[str, ServedTensor], line: int, text: bytes) -> Self:
        """Reads a line.

        Args:
          tensors: what a request of `rank` holds, by name; other columns are left out.

        Raises:
          RecordError: it isn't a logged request.
        """
        try:
            record = json.loads(text)
            items = ids_of(record[ITEM_ID], ITEM_ID)
            context_inputs = {name: np.array(_bytes(value), object) for name, value in record["given"].items()}
            inputs = {
                name: array_of(tensors[name], values) for name, values in record["inputs"].items() if name in tensors
            }
            mismatched = [name for name in inputs if tensors[name].side == "item" and len(inputs[name]) != len(items)]
            if mismatched:
                raise ValueError(f"{mismatched[0]}: {len(inputs[mismatched[0]])} values of {len(items)} candidates")
            return cls(
                line,
                ids_of([record[USER_ID]], USER_ID)[0],
                items,
                context_of(spec, context_inputs),
                record["degraded"],
                Origin.from_json(record["origin"]),
                inputs,
            )
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
            raise RecordError(f"line {line}: is no request that `--log-requests` has written: {error!r:.200}") from None


def read_requests(spec: RankingSpec, tensors: Mapping[str, ServedTensor], path: Path) -> Iterator[Served | RecordError]:
    """Yields the requests of a file, and in place of a line that isn't one its error.

    Raises:
      OSError: it can't be read.
    """
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            if text.strip():
                try:
                    yield Served.of(spec, tensors, line, text)
                except RecordError as error:
                    yield error


def array_of(tensor: ServedTensor, values: Any) -> np.ndarray:
    """Returns an input as it was served: null is a missing number, texts are bytes.

    Raises:
      ValueError: it is another shape.
    """
    if tensor.dtype == "string":
        array = np.array(_bytes(values), object)
    elif tensor.dtype == "float32":
        array = np.array(values, np.float64).astype(np.float32)
    else:
        array = np.array(values, tensor.dtype)
    if not array.size and array.ndim < len(tensor.shape):
        # JSON doesn't say how wide the rows of an empty list are.
        array = array.reshape([size or 0 for size in tensor.shape])
    sizes = zip(array.shape, tensor.shape, strict=False)
    if array.ndim != len(tensor.shape) or any(expected not in (None, size) for size, expected in sizes):
        shape = ["any" if size is None else size for size in tensor.shape]
        raise ValueError(f"{tensor.name}: expected values by {shape}, got {list(array.shape)}: another spec's?")
    return array


def _bytes(values: Any) -> Any:
    if isinstance(values, list):
        return [_bytes(value) for value in values]
    return values.encode() if isinstance(values, str) else values
