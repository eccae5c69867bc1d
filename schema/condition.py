"""What is true or false of a row of the log: conditions of behaviours, tasks and measures."""

from collections.abc import Sequence
from typing import Any, Self

from pydantic import model_validator

from schema.parts import Column, Frozen

_COMPARISONS = ("equals", "at_least", "at_most", "above", "below")


class Condition(Frozen):
    """Something that is true or false of a log row: an event, a 0/1 column, or a column compared with a value."""

    event: str | None = None
    column: Column | None = None
    equals: str | int | float | bool | None = None
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None

    @property
    def comparison(self) -> tuple[str, Any] | None:
        """Returns the comparison's name and value; None for an event or a plain 0/1 column."""
        return next(((key, getattr(self, key)) for key in _COMPARISONS if getattr(self, key) is not None), None)

    @property
    def meaning(self) -> tuple[str | None, str | None, tuple[str, Any] | None]:
        """Returns what decides it, equal for conditions that hold of the same rows."""
        return self.event, self.column, self.comparison

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        comparisons = [key for key in _COMPARISONS if getattr(self, key) is not None]
        possible = [key for key in ("event", "column", "ratio", "sum") if key in type(self).model_fields]
        kinds = [key for key in possible if getattr(self, key) is not None]
        if len(kinds) != 1:
            raise ValueError(f"expected exactly one of {_listed(possible)}, got {' and '.join(kinds) or 'none'}")
        if comparisons and self.column is None:
            raise ValueError(f"`{comparisons[0]}` compares a `column`, got `{kinds[0]}`")
        if len(comparisons) > 1:
            raise ValueError(f"expected one comparison, got {' and '.join(comparisons)}")
        return self


def _listed(keys: Sequence[str]) -> str:
    return " or ".join(f"`{key}`" for key in keys)
