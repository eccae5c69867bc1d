"""The clock of a log: which column says when, and how it is written."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, model_validator

from schema.parts import Column, Frozen

TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected a time zone such as Europe/Berlin or UTC") from None
    return value


def _origin(value: Any) -> Any:
    # YAML reads an unquoted date or time as one.
    text = value.isoformat() if hasattr(value, "isoformat") else value
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise ValueError("expected a date or an ISO 8601 time such as 2024-01-01, from which times count")
    return text


class Timestamp(Frozen):
    """The column that says when: numbers in `unit`, ISO 8601 text, or text of a `format`; no column, no times.

    Times are counted in whole ticks, of `precision` where it is given: ingest sets it to that of a column that is finer
    than `unit` (`ingest.clock`). Examples hold them in ticks of `unit`, or in milliseconds of text.
    """

    column: Column | None = None
    unit: Literal["s", "ms", "us", "ns", "iso"] = "s"
    precision: Literal["s", "ms", "us", "ns"] | None = None
    # How text is written, in the letters of strptime.
    format: Column | None = None
    # Where text without an offset was written, and by which clock hours and days of features go.
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    # The moment from which numbers count, where that isn't 1970.
    origin: Annotated[str, BeforeValidator(_origin)] | None = None

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if self.format is not None and self.unit != "iso" and "unit" in self.model_fields_set:
            raise ValueError(f"`format` is of times in text, got `unit: {self.unit}`, which is of numbers")
        if self.origin is not None and self.is_text:
            raise ValueError("`origin` is of times that are numbers, got text (`unit: iso` or `format`)")
        if self.column is None and self.model_fields_set - {"column", "timezone"}:
            raise ValueError(f"expected `column` beside {', '.join(sorted(self.model_fields_set - {'column'}))}")
        if self.precision is not None and TICKS[self.precision] < self.example_ticks_per_second:
            raise ValueError(f"precision: got {self.precision!r}, which is coarser than `unit: {self.unit}`")
        return self

    @property
    def is_text(self) -> bool:
        return self.unit == "iso" or self.format is not None

    @property
    def ticks_per_second(self) -> int:
        """Returns how many ticks of ingest's times a second has."""
        return TICKS[self.precision] if self.precision else self.example_ticks_per_second

    @property
    def example_ticks_per_second(self) -> int:
        """Returns how many ticks of the examples' times a second has."""
        return TICKS["ms" if self.is_text else self.unit]

    @property
    def ticks_per_example_tick(self) -> int:
        return self.ticks_per_second // self.example_ticks_per_second

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def origin_seconds(self) -> float:
        """Returns the seconds from 1970 to the moment from which numbers count."""
        if self.origin is None:
            return 0
        moment = datetime.fromisoformat(self.origin)
        return (moment if moment.tzinfo else moment.replace(tzinfo=self.zone)).astimezone(UTC).timestamp()
