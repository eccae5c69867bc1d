"""How fine the clock of a log is: that of its column, where the spec's unit is coarser."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.errors import IngestError
from ingest.formats import read_file
from ingest.sources import SourceFile
from schema.clock import TICKS, Timestamp
from schema.spec import RankingSpec

# Files that are looked at, the first and the last among them.
_FILES = 8
_ROWS = 10_000


def with_precision(spec: RankingSpec, files: Iterable[SourceFile]) -> RankingSpec:
    """Returns the spec with the `precision` of the log's times, if their column is finer than the spec's unit.

    That is a column of times (Parquet, Avro) with a finer unit, or numbers with a fraction. A declared precision stays.
    Nothing but ingest needs it: examples hold times in the spec's unit.
    """
    clock = spec.log.timestamp
    if clock.column is None or clock.precision is not None:
        return spec
    logs = [file for file in files if file.source == "log"]
    chosen = sorted({round(index) for index in np.linspace(0, len(logs) - 1, min(len(logs), _FILES))})
    finest = max((_ticks_of(spec, logs[index]) for index in chosen), default=0)
    if finest <= clock.ticks_per_second:
        return spec
    precision = next(unit for unit, ticks in TICKS.items() if ticks == finest)
    finer = clock.model_copy(update={"precision": precision})
    return spec.model_copy(update={"log": spec.log.model_copy(update={"timestamp": finer})})


def _ticks_of(spec: RankingSpec, file: SourceFile) -> int:
    """Returns how many ticks a second has of the first rows' times; 0 where they don't tell."""
    column = str(spec.log.timestamp.column)
    try:
        batch = next(iter(read_file(file.path, {column: "log.timestamp"}, {}, spec.log)), None)
    except IngestError:
        # Whoever reads the whole file tells it.
        return 0
    if batch is None:
        return 0
    return _ticks_of_column(batch.columns[column].slice(0, _ROWS), spec.log.timestamp)


def _ticks_of_column(array: pa.Array, clock: Timestamp) -> int:
    if pa.types.is_timestamp(array.type):
        return TICKS[array.type.unit]
    if clock.is_text or pa.types.is_integer(array.type):
        return 0
    if pa.types.is_floating(array.type):
        values = pc.drop_null(array).to_numpy(zero_copy_only=False).astype(np.float64)
        digits = 0 if (values == np.floor(values)).all() else 3 if np.allclose(values * 1e3 % 1, 0, atol=1e-3) else 6
    else:
        texts = array.cast(pa.string()) if not pa.types.is_binary(array.type) else _texts(array)
        fields = pc.extract_regex(texts, r"^[+-]?\d+\.(?P<fraction>\d*?)0*$")
        digits = pc.max(pc.utf8_length(pc.struct_field(fields, "fraction"))).as_py() or 0
    ratio = next((ticks for ticks in TICKS.values() if ticks >= 10**digits), TICKS["ns"])
    return min(TICKS[clock.unit] * ratio, TICKS["ns"]) if digits else 0


def _texts(array: pa.Array) -> pa.Array:
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.nulls(len(array), pa.string())
