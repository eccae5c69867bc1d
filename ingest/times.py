"""Cells -> times in ticks of the log's clock: numbers, ISO 8601 text and its relatives, text of a declared format.

And the clock by which people live: the hours and days of a time zone, from ticks.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.errors import IngestError
from ingest.values import Column, bools
from schema.clock import TICKS, Timestamp
from schema.features import Feature

_EARLIEST, _LATEST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1990, 2100))
# How far from its anonymous start a log may reach.
_YEARS_S = 10 * 366 * 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = r"^(?P<sign>[+-]?)(?P<whole>\d{1,18})(?:\.(?P<fraction>\d*))?$"
_DIGITS = 9
# Time zones change their clocks at whole quarters of an hour.
_QUARTER_S = 900
# Of a float, digits below this share of it aren't told.
_FLOAT_DIGITS = 15


def times(column: Column, clock: Timestamp) -> np.ndarray:
    """Returns int64 ticks; of text that isn't declared finer, milliseconds. Rejects what is no time of a log."""
    array_type = column.array.type
    if pa.types.is_timestamp(array_type) or pa.types.is_date(array_type):
        ticks = _typed(column.array, clock)
    elif pa.types.is_boolean(array_type) or pa.types.is_time(array_type) or pa.types.is_duration(array_type):
        raise IngestError(f"column {column.name!r} holds {array_type}, expected times")
    elif clock.is_text:
        ticks = _of_texts(column.plain_texts(), clock)
        expected = f"a time like {clock.format!r}" if clock.format else "an ISO 8601 time"
        column.rejects.add(bools(pc.is_null(ticks)), f"{column.name}: expected {expected}", column.shown)
    else:
        ticks = _of_numbers(column, clock)
        expected = f"{column.name}: expected a whole number of {clock.unit}"
        column.rejects.add(bools(pc.is_null(ticks)), expected, column.shown)
    result = pc.fill_null(ticks, 0).to_numpy(zero_copy_only=False)
    second = clock.ticks_per_second
    outside = (result < _EARLIEST * second) | (result >= _LATEST * second)
    unit = clock.unit if not clock.is_text else clock.precision or "ms"
    expected = f"{column.name}: expected a time from 1990 to 2100 in {unit} (is the unit right?)"
    column.rejects.add(outside, expected, column.shown)
    return result


def count_near_zero(column: Column, clock: Timestamp) -> int:
    """Returns how many numbers are seconds after some start that isn't 1970: from 0 to some years."""
    if not (pa.types.is_integer(column.array.type) or pa.types.is_floating(column.array.type)) and not (
        pa.types.is_string(column.array.type) or pa.types.is_binary(column.array.type)
    ):
        return 0
    ticks = pc.fill_null(_of_numbers(column, clock), -1).to_numpy(zero_copy_only=False)
    return int(((ticks >= 0) & (ticks < _YEARS_S * clock.ticks_per_second)).sum())


def _typed(array: pa.Array, clock: Timestamp) -> pa.Array:
    """Returns the ticks of a column of times or dates; those without a zone are of the clock's."""
    unit = _unit_of(clock)
    zone = getattr(array.type, "tz", None)
    ticks = array.cast(pa.timestamp(unit, zone), safe=False).cast(pa.int64())
    return ticks if zone else _to_utc(ticks, clock)


def _unit_of(clock: Timestamp) -> str:
    return next(unit for unit, count in TICKS.items() if count == clock.ticks_per_second)


def _to_utc(ticks: pa.Array, clock: Timestamp) -> pa.Array:
    """Returns the ticks of local times, as if they were of UTC, as those of UTC."""
    if clock.timezone == "UTC":
        return ticks
    local = pc.fill_null(ticks, 0).to_numpy(zero_copy_only=False)
    seconds = local // clock.ticks_per_second

    def offset(second: int, zone: ZoneInfo) -> int:
        moment = datetime.fromtimestamp(second, UTC).replace(tzinfo=zone)
        return int(moment.utcoffset().total_seconds())  # type: ignore[union-attr]

    offsets = _by_quarter(seconds, clock, offset)
    return pa.array(local - offsets * clock.ticks_per_second, mask=bools(pc.is_null(ticks)))


def local_seconds(ticks: np.ndarray, clock: Timestamp) -> np.ndarray:
    """Returns the seconds since 1970-01-01 00:00 by the clock on the wall of the log's time zone."""
    seconds = ticks // clock.ticks_per_second
    if clock.timezone == "UTC":
        return seconds

    def offset(second: int, zone: ZoneInfo) -> int:
        return int(datetime.fromtimestamp(second, zone).utcoffset().total_seconds())  # type: ignore[union-attr]

    return seconds + _by_quarter(seconds, clock, offset)


def _by_quarter(seconds: np.ndarray, clock: Timestamp, offset) -> np.ndarray:
    inside = np.clip(seconds, _EARLIEST - 86_400, _LATEST + 86_400)
    quarters, inverse = np.unique(inside // _QUARTER_S, return_inverse=True)
    zone = clock.zone
    return np.array([offset(int(quarter) * _QUARTER_S, zone) for quarter in quarters], np.int64)[inverse]


def derived(feature: Feature, ticks: np.ndarray, clock: Timestamp) -> np.ndarray:
    """Returns the hour of the day, or the day of the week (Monday is 0), in the log's time zone."""
    seconds = local_seconds(ticks, clock)
    if feature.derive == "hour_of_day":
        return seconds // 3600 % 24
    # 1970-01-01 was a Thursday.
    return (seconds // 86_400 + 3) % 7


def day_start(day_number: int, clock: Timestamp) -> int:
    """Returns the second at which a day begins in the log's time zone, by the day's number since 1970-01-01."""
    if clock.timezone == "UTC":
        return day_number * 86_400
    midnight = datetime.fromtimestamp(day_number * 86_400, UTC).replace(tzinfo=clock.zone)
    return int(midnight.timestamp())


def _of_numbers(column: Column, clock: Timestamp) -> pa.Array:
    """Returns the ticks of numbers in `unit`, counted from `origin`; digits below a tick are cut. Null: no number."""
    ratio = clock.ticks_per_second / TICKS[clock.unit]
    origin = round(clock.origin_seconds * clock.ticks_per_second)
    if pa.types.is_integer(column.array.type):
        ticks = column.array.cast(pa.int64(), safe=False)
        ticks = ticks if ratio == 1 else _scaled(ticks, int(ratio))
    elif pa.types.is_floating(column.array.type):
        ticks = _of_floats(column.array, TICKS[clock.unit], clock.ticks_per_second)
    else:
        ticks = _of_number_texts(column.plain_texts(), TICKS[clock.unit], clock.ticks_per_second)
    return pc.add(ticks, origin) if origin else ticks


def _scaled(ticks: pa.Array, ratio: int) -> pa.Array:
    """Returns the ticks times `ratio`; what would not fit is no time."""
    fits = pc.less(pc.abs(ticks), ((1 << 63) - 1) // ratio)
    return pc.multiply(pc.if_else(fits, ticks, 0), ratio)


def _of_floats(array: pa.Array, unit: int, second: int) -> pa.Array:
    values = pc.fill_null(array.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    usable = np.isfinite(values) & (np.abs(values) < 2**62 / max(1, second // unit))
    values = np.where(usable, values, 0)
    whole = np.floor(values)
    # As far as a float64 of this size has digits.
    digits = np.clip(_FLOAT_DIGITS - np.ceil(np.log10(np.maximum(np.abs(whole), 1) + 1)), 0, _DIGITS)
    fraction = np.round((values - whole) * 10.0**digits) / 10.0**digits
    ratio = second // unit
    ticks = whole.astype(np.int64) * ratio + np.floor(np.round(fraction * ratio, 6)).astype(np.int64)
    return pa.array(ticks, mask=~usable)


def _of_number_texts(texts: pa.Array, unit: int, second: int) -> pa.Array:
    ratio = second // unit
    try:
        whole = texts.cast(pa.int64())
        return whole if ratio == 1 else _scaled(whole, ratio)
    except pa.ArrowInvalid:
        pass
    texts = pc.utf8_trim_whitespace(texts)
    exponent = bools(pc.match_substring_regex(texts, r"^[+-]?\d+(\.\d*)?[eE][+-]?\d+$"))
    if exponent.any():
        nothing = pa.scalar(None, pa.string())
        floats = _of_floats(pc.if_else(pa.array(exponent), texts, nothing).cast(pa.float64()), unit, second)
        return pc.coalesce(_of_number_texts(pc.if_else(pa.array(exponent), nothing, texts), unit, second), floats)
    fields = pc.extract_regex(texts, _NUMBER)
    whole = _digits(fields, "whole").cast(pa.int64())
    fraction = pc.utf8_slice_codeunits(pc.utf8_rpad(_digits(fields, "fraction"), _DIGITS, "0"), 0, _DIGITS)
    parts = pc.fill_null(fraction.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    ticks = pc.add(_scaled(whole, ratio), pa.array(parts * ratio // 10**_DIGITS))
    return pc.if_else(pc.equal(pc.struct_field(fields, "sign"), "-"), pc.negate(ticks), ticks)


def _digits(fields: pa.Array, name: str) -> pa.Array:
    """Returns a field of digits, "0" where it is empty; null where the text was no number."""
    digits = pc.struct_field(fields, name)
    return pc.if_else(pc.equal(digits, ""), "0", digits)


def _of_texts(texts: pa.Array, clock: Timestamp) -> pa.Array:
    if clock.format:
        return _by_value(texts, clock, lambda text: datetime.strptime(text, str(clock.format)))
    unit = _unit_of(clock)
    for zone in ("UTC", None):
        try:
            ticks = texts.cast(pa.timestamp(unit, zone)).cast(pa.int64())
        except pa.ArrowInvalid:
            continue
        return ticks if zone else _to_utc(ticks, clock)
    # BigQuery and Spark write `2024-01-01 12:00:00 UTC`, others `2024/01/01 12:00`.
    plain = pc.replace_substring_regex(pc.utf8_trim_whitespace(texts), r"(\d) ?(UTC|GMT|Z)$", r"\1Z")
    plain = pc.replace_substring_regex(plain, r"^(\d{4})/(\d{1,2})/(\d{1,2})", r"\1-\2-\3")
    try:
        return plain.cast(pa.timestamp(unit, "UTC")).cast(pa.int64())
    except pa.ArrowInvalid:
        return _by_value(plain, clock, _iso)


def _iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        date, _, rest = text.replace("T", " ").partition(" ")
        year, month, day = date.split("-")
        # A time that begins with one digit, or months and days of one.
        hour = f"0{rest}" if rest[1:2] == ":" else rest
        return datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2} {hour}".rstrip())


def _by_value(texts: pa.Array, clock: Timestamp, parse) -> pa.Array:
    """Returns the ticks of texts, each distinct one parsed on its own; null where it can't be."""
    encoded = texts.dictionary_encode()
    values = [_ticks(text, clock, parse) for text in encoded.dictionary.to_pylist()]
    return pa.array(values, pa.int64()).take(encoded.indices)


def _ticks(text: str, clock: Timestamp, parse) -> int | None:
    try:
        moment = parse(text.strip())
    except ValueError:
        return None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=clock.zone)) - _EPOCH
    nanoseconds = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    return nanoseconds * clock.ticks_per_second // 10**9
