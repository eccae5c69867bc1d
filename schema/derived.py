"""Derived features of the spec: crosses and look-ups, which the model makes of an example's features by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from schema.features import Feature
from schema.parts import Frozen, Name

if TYPE_CHECKING:
    from schema.spec import RankingSpec


# What stands between the values of a cross, of which none holds this character; and between key and value of a map's
# entry, whose key can't hold it.
CROSSED, ENTRY = "\x1f", "="


class LookUp(Frozen):
    """The value that a map has for a key: `map` is a feature of that kind, `key` one whose value is looked up."""

    map: Name
    key: Name


class Derived(Frozen):
    """A feature of features, made in the graph that training and serving share: no log and no request holds it."""

    name: Name
    # The features whose values, taken together, are one category.
    cross: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    look_up: LookUp | None = None
    # Of what a look-up in a map of numbers finds, as of a numeric feature.
    scale: Literal["standardize", "log", "buckets"] = "standardize"
    buckets: Annotated[int, Field(ge=2, le=1000)] = 10

    @model_validator(mode="after")
    def _is_a_cross_or_a_look_up(self) -> Self:
        if bool(self.cross) == (self.look_up is not None):
            raise ValueError("expected either `cross: [a, b]` or `look_up: {map: …, key: …}`")
        if self.cross and len(self.cross) < 2:
            raise ValueError(f"expected at least two features in `cross`, got {list(self.cross)}")
        if "buckets" in self.model_fields_set and self.scale != "buckets":
            raise ValueError("`buckets` belongs to `scale: buckets`")
        return self

    @property
    def features(self) -> tuple[str, ...]:
        """Returns the names of the features that it is made of."""
        return (self.look_up.map, self.look_up.key) if self.look_up else self.cross


def derived_feature(spec: RankingSpec, derived: Derived) -> Feature:
    """Returns what its values are to Transform and to the model: a category, or a number of a map."""
    features = {feature.name: feature for feature in spec.features}
    made_of = [features[name] for name in derived.features]
    sources = {feature.source for feature in made_of}
    source = next(source for source in ("items", "log", "users") if source in sources)
    if derived.look_up and made_of[0].values == "numeric":
        options = {"buckets": derived.buckets} if derived.scale == "buckets" else {}
        declared = {"name": derived.name, "source": source, "kind": "numeric", "scale": derived.scale, **options}
        return Feature.model_validate(declared)
    return Feature(name=derived.name, source=source, kind="categorical")
