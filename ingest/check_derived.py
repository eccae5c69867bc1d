"""What of a sample says that a look-up finds nothing, or that nothing looks into a map."""

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from ingest.check_columns import feature_values
from ingest.check_report import Finding
from ingest.sample import Sample
from ingest.timeline import Timelines
from schema.derived import ENTRY, LookUp
from schema.spec import Feature, RankingSpec

_SHOWN = 3


def derived_findings(spec: RankingSpec, samples: Mapping[str, Sample], lines: Timelines) -> Iterator[Finding]:
    """Yields a warning for each look-up that never matches, and for each map that no look-up reads."""
    features = {feature.name: feature for feature in spec.features}
    read = {derived.look_up.map for derived in spec.derive if derived.look_up}
    for i, feature in enumerate(spec.features):
        if feature.kind == "map" and feature.name not in read:
            where = f"features[{i}] ({feature.name})"
            yield Finding("warning", where, "is a map, which only look-ups read, and no `look_up` in `derive` names it")
    for i, derived in enumerate(spec.derive):
        if derived.look_up is None:
            continue
        keys = _keys(feature_values(spec, features[derived.look_up.map], samples, lines))
        values = _values(spec, features[derived.look_up.key], samples, lines)
        # What is missing everywhere is told of the feature.
        if len(keys) and len(values) and not pc.any(pc.is_in(keys, value_set=values)).as_py():
            yield Finding("warning", f"derive[{i}] ({derived.name})", _never_matches(derived.look_up, keys, values))


def _keys(maps: pa.Array) -> pa.Array:
    """Returns the different keys of maps, which are lists of entries `key=value`."""
    entries = pc.list_flatten(maps) if pa.types.is_list(maps.type) else maps
    return pc.unique(pc.replace_substring_regex(entries, rf"(?s){ENTRY}.*", ""))


def _values(spec: RankingSpec, key: Feature, samples: Mapping[str, Sample], lines: Timelines) -> pa.Array:
    """Returns the different values that may be looked up: of a number the ids of its buckets."""
    if key.kind == "numeric":
        return pa.array([str(bucket) for bucket in range(key.buckets + 1)])
    return pc.unique(pc.drop_null(feature_values(spec, key, samples, lines)))


def _never_matches(look_up: LookUp, keys: pa.Array, values: pa.Array) -> str:
    return (
        f"finds nothing: none of the {len(keys):,} keys of {look_up.map!r} ({_first_of(keys)}) is one of the "
        f"{len(values):,} values of {look_up.key!r} ({_first_of(values)})"
    )


def _first_of(texts: pa.Array) -> str:
    shown = ", ".join(repr(text) for text in texts[:_SHOWN].to_pylist())
    return f"{shown}, …" if len(texts) > _SHOWN else shown
