"""What is true or false of a row: conditions of behaviours, tasks and measures, and which rows are read at all."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from schema.parts import Column, Frozen


class Condition(Frozen):
    """Something that is true or false of a log row: an event, a 0/1 column, or a column compared with a value."""

    _COMPARISONS: ClassVar[tuple[str, ...]] = ("equals", "at_least", "at_most", "above", "below")

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
        return next(((key, getattr(self, key)) for key in self._COMPARISONS if getattr(self, key) is not None), None)

    @property
    def meaning(self) -> tuple[str | None, str | None, tuple[str, Any] | None]:
        """Returns what decides it, equal for conditions that hold of the same rows."""
        return self.event, self.column, self.comparison

    @classmethod
    def _written(cls, key: str) -> str:
        """Returns a field's name as it stands in the file."""
        return cls.model_fields[key].alias or key

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        comparisons = [self._written(key) for key in self._COMPARISONS if getattr(self, key) is not None]
        possible = [key for key in ("event", "column", "ratio", "sum") if key in type(self).model_fields]
        kinds = [key for key in possible if getattr(self, key) is not None]
        if len(kinds) != 1:
            raise ValueError(f"expected exactly one of {_listed(possible)}, got {' and '.join(kinds) or 'none'}")
        if comparisons and self.column is None:
            raise ValueError(f"`{comparisons[0]}` compares a `column`, got `{kinds[0]}`")
        if len(comparisons) > 1:
            raise ValueError(f"expected one comparison, got {' and '.join(comparisons)}")
        return self


def _list_of_values(value: Any) -> Any:
    return (value,) if isinstance(value, str | int | float | bool) else value


# Texts, or numbers; a single one may stand without a list.
Values = Annotated[tuple[str | int | float, ...], BeforeValidator(_list_of_values), Field(min_length=1, strict=False)]


class RowFilter(Condition):
    """What a row of a source must hold to be read: a condition on a column, which may list values or ask for any.

    A row whose column is missing holds of `missing: true` and of `not_in`, and of nothing else.
    """

    model_config = ConfigDict(serialize_by_alias=True)
    _COMPARISONS: ClassVar[tuple[str, ...]] = (*Condition._COMPARISONS, "one_of", "none_of", "missing")

    one_of: Annotated[Values | None, Field(alias="in")] = None
    none_of: Annotated[Values | None, Field(alias="not_in")] = None
    missing: bool | None = None

    @model_validator(mode="after")
    def _is_of_a_column(self) -> Self:
        if self.event is not None:
            raise ValueError("got `event`, expected `column`: a filter is of a column's values, the event's too")
        for key, values in (("in", self.one_of), ("not_in", self.none_of)):
            if values and len({isinstance(value, str) for value in values}) > 1:
                raise ValueError(f"`{key}`: expected texts or numbers, got both: {list(values)}")
        return self

    @property
    def words(self) -> str:
        """Returns the condition as a reader says it: `tab in ['home', 'follow']`."""
        if self.comparison is None:
            return f"{self.column} is true"
        key, value = self.comparison
        if key == "missing":
            return f"{self.column} is {'missing' if value else 'not missing'}"
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        shown = list(value) if isinstance(value, tuple) else repr(value)
        return f"{self.column} {self._written(key).replace('_', ' ')} {shown}"


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, dict) else value


# All of them hold of a row that is read; a single one may stand without a list.
RowFilters = Annotated[tuple[RowFilter, ...], BeforeValidator(_one_or_many), Field(strict=False)]


def _listed(keys: Sequence[str]) -> str:
    return " or ".join(f"`{key}`" for key in keys)
