"""What derived features must be to the features that they are made of, and to the names of all others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from schema.columns import example_columns
from schema.features import Feature

if TYPE_CHECKING:
    from schema.spec import RankingSpec


def derive_problems(spec: RankingSpec) -> Iterator[str]:
    """Yields a line for each derived feature that can't be made: where in the spec, what was given and expected."""
    features = {feature.name: feature for feature in spec.features}
    taken = _taken_names(spec)
    singles = [name for name, feature in features.items() if _is_category(feature)]
    maps = [name for name, feature in features.items() if feature.kind == "map"]
    for i, derived in enumerate(spec.derive):
        where = f"derive[{i}]"
        if derived.name in taken:
            yield f"{where}.name: got {derived.name!r}, which is {taken[derived.name]} already"
        taken.setdefault(derived.name, f"{where}'s")
        if derived.look_up:
            yield from _wrong_feature(f"{where}.look_up.map", derived.look_up.map, features, maps, "a map")
            yield from _wrong_feature(f"{where}.look_up.key", derived.look_up.key, features, singles, _CATEGORY)
        for j, name in enumerate(derived.cross):
            yield from _wrong_feature(f"{where}.cross[{j}]", name, features, singles, _CATEGORY)
            if name in derived.cross[:j]:
                yield f"{where}.cross[{j}]: got {name!r} twice, expected another feature"
        of_numbers = (
            derived.look_up and derived.look_up.map in maps and features[derived.look_up.map].values == "numeric"
        )
        if "scale" in derived.model_fields_set and not of_numbers:
            yield f"{where}.scale: got {derived.scale!r}, which belongs to a look-up in a map of `values: numeric`"


def _taken_names(spec: RankingSpec) -> dict[str, str]:
    """Returns the names that columns and vocabularies have without what is derived, and whose they are."""
    taken = {feature.name: f"features[{i}]'s" for i, feature in enumerate(spec.features)}
    for i, feature in enumerate(spec.features):
        taken.setdefault(feature.vocabulary_name, f"the vocabulary of features[{i}]")
    try:
        columns = example_columns(spec.model_copy(update={"derive": ()}))
    except ValueError:
        # What is wrong with them is told without us.
        return taken
    for column in columns:
        taken.setdefault(column.name, "a column of the examples")
    return taken


_CATEGORY = "a categorical or derived feature, or a numeric one with `scale: buckets`"


def _is_category(feature: Feature) -> bool:
    return (feature.is_text and not feature.traits.ragged) or feature.column_kind == "buckets"


def _wrong_feature(
    where: str, name: str, features: dict[str, Feature], usable: list[str], expected: str
) -> Iterator[str]:
    if name in usable:
        return
    got = "no feature"
    if name in features:
        feature = features[name]
        noun = feature.traits.noun
        got = f"{noun}, without `scale: buckets`" if feature.kind == "numeric" else noun
    yield f"{where}: got {name!r}, which is {got}; expected {expected}: {', '.join(usable) or 'the spec has none'}"
