"""A feature of the spec, and what its kind is to everything that doesn't read its values."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schema.parts import Column, Frozen, Name


@dataclass(frozen=True)
class FeatureKind:
    """What the values of a kind of feature are: data, without code.

    Attributes:
      noun: how a message calls such a feature.
      column_kind: the entry of `models.kinds.KINDS` that has what Transform and the model make of its columns.
      dtype: of the values in the examples.
      ragged: whether an example holds any number of values.
      scales: the values of `scale` that it takes.
    """

    noun: str
    column_kind: str
    dtype: Literal["string", "float"]
    ragged: bool = False
    scales: tuple[str, ...] = ()


FEATURE_KINDS: Mapping[str, FeatureKind] = MappingProxyType(
    {
        "categorical": FeatureKind("categorical", "id", "string"),
        "numeric": FeatureKind("numeric", "number", "float", scales=("standardize", "log", "buckets")),
        "multi": FeatureKind("multi-valued", "id", "string", ragged=True),
        "vector": FeatureKind("a vector", "vector", "float", scales=("none", "standardize", "l2")),
    }
)
# What look-ups read, and no model by itself: it is no kind of column to Transform.
MAP = FeatureKind("a map", "map", "string", ragged=True)

# What `strip` takes from both ends of a value of a list in text.
LIST_MARKS = " \t[](){}'\""


class Feature(Frozen):
    """A value known when the impression happens, from its log row, the users table or the items table."""

    name: Name
    source: Literal["log", "users", "items"]
    column: Column | None = None
    kind: Literal["categorical", "numeric", "multi", "vector", "map"] | None = None
    derive: Literal["hour_of_day", "day_of_week"] | None = None
    # Multi and vector: what stands between the values of a cell of text.
    separator: Annotated[str, Field(min_length=1)] = "|"
    # Multi: whether spaces, brackets and quotes are taken from the ends of each value.
    strip: bool = False
    # Categorical and multi: features that name the same vocabulary share its ids and its embedding table.
    vocabulary: Name | None = None
    # Numeric: `standardize` (z-score), `log` (z-score of log1p) or `buckets` (ids by quantile).
    # Vector: `none`, `standardize` (z-score of each number) or `l2` (to length 1).
    scale: Literal["standardize", "log", "buckets", "none", "l2"] = "standardize"
    buckets: Annotated[int, Field(ge=2, le=1000)] = 10
    # Vector: how many numbers it has.
    size: Annotated[int, Field(ge=1, le=4096)] | None = None
    # Map: what its keys have.
    values: Literal["numeric", "categorical"] = "numeric"

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.derive:
            if self.source != "log":
                raise ValueError("a derived feature comes from the timestamp: `source: log`")
            if self.column or self.kind:
                raise ValueError("a derived feature takes neither `column` nor `kind`")
        elif self.kind is None:
            *others, last = FEATURE_KINDS
            raise ValueError(f"expected `kind` ({', '.join(others)} or {last}) or `derive`; `map` is for look-ups")
        return self

    @model_validator(mode="after")
    def _options_fit_the_kind(self) -> Self:
        is_numeric, is_vector = self.kind == "numeric", self.kind == "vector"
        for option, fits, owner in (
            ("vocabulary", self.is_text, "a categorical, multi or derived feature"),
            ("separator", self.kind == "multi" or is_vector, "`kind: multi` or `kind: vector`"),
            ("strip", self.kind == "multi", "`kind: multi`"),
            ("scale", is_numeric or is_vector, "`kind: numeric` or `kind: vector`"),
            ("buckets", is_numeric and self.scale == "buckets", "`kind: numeric` with `scale: buckets`"),
            ("size", is_vector, "`kind: vector`"),
            ("values", self.kind == "map", "`kind: map`"),
        ):
            if option in self.model_fields_set and not fits:
                raise ValueError(f"`{option}` belongs to {owner}, got {self._shown_kind}")
        if self.traits.scales and self.scale not in self.traits.scales:
            raise ValueError(f"got {self._shown_kind}, expected `scale` to be one of {', '.join(self.traits.scales)}")
        if is_vector and self.size is None:
            raise ValueError("`kind: vector` needs `size`, how many numbers each vector has")
        return self

    @property
    def _shown_kind(self) -> str:
        if self.derive:
            return f"`derive: {self.derive}`"
        return f"`kind: {self.kind}`" + (f" with `scale: {self.scale}`" if self.traits.scales else "")

    @property
    def traits(self) -> FeatureKind:
        """Returns what its values are; a derived one is a category."""
        return MAP if self.kind == "map" else FEATURE_KINDS[self.kind or "categorical"]

    @property
    def source_column(self) -> str:
        return self.column or self.name

    @property
    def is_text(self) -> bool:
        """Returns whether its values are texts, which have ids in a vocabulary and can name slices."""
        return self.traits.column_kind == "id"

    @property
    def column_kind(self) -> str:
        """Returns what its columns are to Transform and to the model, by the keys of `models.kinds.KINDS`."""
        return "buckets" if self.scale == "buckets" else self.traits.column_kind

    @property
    def vocabulary_name(self) -> str:
        return self.vocabulary or self.name
