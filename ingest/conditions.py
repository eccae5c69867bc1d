"""Which rows a condition holds of, and which of a source's rows are read."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.values import Column, Rejects
from schema.condition import Condition, RowFilter
from schema.files import even

_COMPARISONS = {
    "equals": np.equal,
    "at_least": np.greater_equal,
    "at_most": np.less_equal,
    "above": np.greater,
    "below": np.less,
}


def holds(condition: Condition, columns: Mapping[str, Column]) -> np.ndarray:
    """Returns per row (int8) 1 where a condition on a column holds, 0 where it doesn't, -1 where it is missing."""
    column = columns[str(condition.column)]
    if condition.comparison is None:
        return column.flags()
    return _compared(column, *condition.comparison)


def _compared(column: Column, name: str, value: Any) -> np.ndarray:
    if isinstance(value, bool):
        flags = column.flags()
        return np.where(flags < 0, -1, flags == value).astype(np.int8)
    if isinstance(value, str):
        return pc.fill_null(pc.equal(column.texts(), even(value)).cast(pa.int8()), -1).to_numpy(zero_copy_only=False)
    numbers = column.numbers()
    return np.where(np.isnan(numbers), -1, _COMPARISONS[name](numbers, value)).astype(np.int8)


def filtered(
    filters: tuple[RowFilter, ...], columns: Mapping[str, Column], rejects: Rejects
) -> tuple[np.ndarray, Counter]:
    """Returns which rows (bool) the filters leave out, and how many by the first filter that doesn't hold, in words.

    A row that another filter can't judge, since its column holds no such value, is rejected and not left out.
    """
    left_out = np.zeros(len(rejects.mask), bool)
    reasons: Counter = Counter()
    for row_filter in filters:
        fails = ~_admits(row_filter, columns) & ~rejects.mask & ~left_out
        if fails.any():
            reasons[f"where: not {row_filter.words}"] += int(fails.sum())
        left_out |= fails
    return left_out, reasons


def _admits(row_filter: RowFilter, columns: Mapping[str, Column]) -> np.ndarray:
    column = columns[str(row_filter.column)]
    if row_filter.missing is not None:
        return column.is_missing() == row_filter.missing
    if row_filter.none_of is not None:
        return _is_any(column, row_filter.none_of) != 1
    if row_filter.one_of is not None:
        return _is_any(column, row_filter.one_of) == 1
    return holds(row_filter, columns) == 1


def _is_any(column: Column, values: tuple[object, ...]) -> np.ndarray:
    return np.max([_compared(column, "equals", value) for value in values], axis=0)
