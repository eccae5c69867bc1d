"""What the columns of a sample hold, and what of it looks like a mistake: values that stand for missing ones, ids that
a spreadsheet has rounded.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.check_report import ColumnSample, Finding
from ingest.sample import Sample
from ingest.timeline import Timelines
from ingest.times import derived
from schema.spec import Feature, RankingSpec

_MOST_VALUES = 20
# What people write for a missing value, beside what the spec reads as one.
_LIKE_MISSING = ("na", "n/a", "null", "none", "nan", "nil", "undefined", "missing", "unknown", "-", "--", "?", "(null)")
_LIKE_MISSING_IDS = (*_LIKE_MISSING, "0", "-1", "")
# `1.2345E+17`: an integer as a spreadsheet writes it, all digits but the first few lost.
_ROUNDED = r"^-?\d(\.\d+)?[eE]\+\d{2,3}$"
# Of ids, a placeholder has so much more than its share of the rows.
_MUCH = 0.02


def column_samples(spec: RankingSpec, samples: Mapping[str, Sample], lines: Timelines) -> dict[str, ColumnSample]:
    """Returns what each feature holds: of the log in the impressions, of a table in its rows."""
    return {feature.name: _sample(feature, feature_values(spec, feature, samples, lines)) for feature in spec.features}


def feature_values(spec: RankingSpec, feature: Feature, samples: Mapping[str, Sample], lines: Timelines) -> pa.Array:
    """Returns a feature's values: of the log, or derived of the time, in the impressions; of a table in its rows."""
    if feature.derive:
        ticks = lines.time[lines.impressions]
        return pa.array(derived(feature, ticks, spec.log.timestamp)).cast(pa.string())
    table = samples[feature.source].table()
    if table is None:
        return pa.nulls(0, pa.string())
    values = _array(table[f"feature:{feature.name}"])
    return values.take(pa.array(lines.source[lines.impressions])) if feature.source == "log" else values


def _sample(feature: Feature, values: pa.Array) -> ColumnSample:
    kind = feature.derive or str(feature.kind)
    if pa.types.is_fixed_size_list(values.type):
        present = pc.drop_null(values)
        size = values.type.list_size
        vectors = pc.list_flatten(present).to_numpy(zero_copy_only=False).reshape(-1, size)
        distinct = len(np.unique(vectors, axis=0)) if len(vectors) else 0
        return ColumnSample(kind, len(values) - len(present), distinct, ())
    if pa.types.is_list(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), 0)
        missing = pc.sum(pc.equal(lengths, 0)).as_py() or 0
        values = pc.list_flatten(values)
    else:
        missing = pc.sum(pc.is_null(values, nan_is_null=True)).as_py() or 0
    counts = pc.value_counts(values.filter(pc.invert(pc.is_null(values, nan_is_null=True))))
    frequent = sorted(counts.to_pylist(), key=lambda count: (-count["counts"], str(count["values"])))[:_MOST_VALUES]
    return ColumnSample(kind, missing, len(counts), tuple(count["values"] for count in frequent))


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([pa.array([], column.type), *column.chunks])


def doubtful_values(spec: RankingSpec, samples: Mapping[str, Sample]) -> Iterator[Finding]:
    """Yields a warning for each column with values that look like missing ones, or like rounded ids."""
    for source, sample in samples.items():
        table = sample.table()
        if table is None or table.num_rows == 0:
            continue
        ids = {"user": "log.user", "item": "log.item"} if source == "log" else {"key": f"{source}.key"}
        for column, where in ids.items():
            yield from _doubtful_ids(where, source, table[column])
        for i, feature in enumerate(spec.features):
            if feature.source == source and feature.kind in ("categorical", "multi"):
                values = table[f"feature:{feature.name}"].combine_chunks()
                yield from _like_missing(f"features[{i}] ({feature.name})", source, _flat(values))


def _flat(values: pa.Array) -> pa.Array:
    return pc.list_flatten(values) if pa.types.is_list(values.type) else values


def _doubtful_ids(where: str, source: str, ids: pa.ChunkedArray) -> Iterator[Finding]:
    counts = pc.value_counts(ids.combine_chunks())
    texts, sizes = counts.field("values"), counts.field("counts").to_numpy()
    rounded = pc.match_substring_regex(texts, _ROUNDED).to_numpy(zero_copy_only=False)
    if rounded.any():
        first = texts.filter(pa.array(rounded))[0].as_py()
        yield Finding(
            "warning",
            where,
            f"{int(sizes[rounded].sum()):,} of {len(ids):,} ids look rounded, as a spreadsheet does it: {first!r}; "
            "several ids may have become one. Export the column as text",
        )
    lower = pc.utf8_lower(texts)
    is_like = pc.is_in(lower, value_set=pa.array(_LIKE_MISSING_IDS)).to_numpy(zero_copy_only=False)
    # Some user or item is the first one, and may be called 0.
    is_number = pc.is_in(lower, value_set=pa.array(["0", "-1"])).to_numpy(zero_copy_only=False)
    is_like &= ~is_number | (sizes > max(_MUCH * sizes.sum(), 10 * np.median(sizes)))
    yield from _as_findings(where, source, texts, sizes, is_like, "is an id")


def _like_missing(where: str, source: str, values: pa.Array) -> Iterator[Finding]:
    counts = pc.value_counts(pc.drop_null(values))
    texts, sizes = counts.field("values"), counts.field("counts").to_numpy()
    is_like = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(_LIKE_MISSING)).to_numpy(zero_copy_only=False)
    yield from _as_findings(where, source, texts, sizes, is_like, "is a value of its own")


def _as_findings(
    where: str, source: str, texts: pa.Array, sizes: np.ndarray, is_like: np.ndarray, what: str
) -> Iterator[Finding]:
    for index in np.flatnonzero(is_like).tolist():
        text = texts[index].as_py()
        yield Finding(
            "warning",
            where,
            f"{text!r} {what} in {int(sizes[index]):,} rows; does it stand for a missing one? "
            f"Then name it in `{source}.missing`",
        )
