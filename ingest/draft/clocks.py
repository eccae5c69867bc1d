"""Which column of a log says when, and how its times are written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.draft.profile import Profile, share
from ingest.draft.words import TIME_WORDS, words_of
from ingest.times import count_near_zero, times
from ingest.values import Column, Rejects
from schema.clock import Timestamp

# The share of the cells that must be times.
_MOST = 0.95
_TRIED = 2_000
_FORMATS = (
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%d-%m-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M",
    "%Y%m%d%H%M%S",
    "%Y%m%d %H:%M:%S",
    "%d-%b-%Y %H:%M:%S",
    "%d %b %Y %H:%M:%S",
    "%b %d, %Y %H:%M:%S",
    "%d/%b/%Y:%H:%M:%S %z",
    "%a %b %d %H:%M:%S %z %Y",
    "%a %b %d %H:%M:%S %Y",
    "%Y%m%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
)
_RATHER = ("timestamp", "time", "ts", "at", "when", "datetime", "epoch")


@dataclass(frozen=True)
class Clock:
    """How the times of a column are written: the keys of `timestamp` beside `column`, why, and what is unsure."""

    column: str
    keys: dict[str, Any]
    why: str
    doubt: str = ""
    # Whether it tells days alone.
    is_coarse: bool = False


def clock_of(profile: Profile) -> Clock | None:
    """Returns how a column's cells are to be read as times since 1990; None where they are none."""
    if profile.is_time:
        return _typed(profile)
    if profile.is_list or not profile.present:
        return None
    cells = pc.drop_null(profile.texts).slice(0, _TRIED)
    if profile.numbers is not None and not _has_digits_of_a_date(cells):
        for unit in ("s", "ms", "us", "ns"):
            if _fits(cells, Timestamp(column="at", unit=unit)):
                return Clock(profile.name, {"unit": unit}, f"read as {unit}, its numbers are times from 1990 to 2100")
        return None
    if profile.numbers is None and _fits(cells, Timestamp(column="at", unit="iso")):
        is_day = not bool(pc.any(pc.match_substring_regex(cells, r"\d:\d")).as_py())
        return Clock(profile.name, {"unit": "iso"}, "text such as " + repr(cells[0].as_py()), is_coarse=is_day)
    fitting = [form for form in _FORMATS if _fits(cells, Timestamp(column="at", format=form))]
    if not fitting:
        return None
    unsure = [form for form in fitting[1:] if sorted(form) == sorted(fitting[0])]
    doubt = f"day and month may be the other way round: {unsure[0]!r} fits, too" if unsure else ""
    return Clock(
        profile.name, {"format": fitting[0]}, f"text such as {cells[0].as_py()!r}", doubt, "H" not in fitting[0]
    )


def _typed(profile: Profile) -> Clock:
    cells_type = profile.cells.type
    if pa.types.is_date(cells_type):
        return Clock(profile.name, {"unit": "s"}, f"the file types it as {cells_type}", is_coarse=True)
    unit = "s" if cells_type.unit == "s" else "ms"
    return Clock(profile.name, {"unit": unit}, f"the file types it as {cells_type}, which counts as it is")


def _has_digits_of_a_date(cells: pa.Array) -> bool:
    """Returns whether numbers are written as days or seconds of the calendar: 20240131, 20240131235959."""
    return (
        share(pc.match_substring_regex(cells, r"^(19|20)\d\d(0[1-9]|1[0-2])[0-3]\d([0-2]\d[0-5]\d[0-5]\d)?$")) > _MOST
    )


def _fits(cells: pa.Array, clock: Timestamp) -> bool:
    rejects = Rejects(len(cells))
    times(Column("at", cells, rejects), clock)
    return share(~rejects.mask) >= _MOST


def relative_clock(profile: Profile) -> Clock | None:
    """Returns the clock of numbers that count from the log's start; None where they don't, or the name says nothing."""
    numbers = profile.known_numbers
    if not named_as_time(profile.name) or len(np.unique(numbers)) < 3 or (numbers < 0).any():
        return None
    cells = pc.drop_null(profile.texts)
    for unit in ("s", "ms"):
        clock = Timestamp(column="at", unit=unit)
        if count_near_zero(Column("at", cells, Rejects(len(cells))), clock) == len(cells) and not profile.is_float:
            return Clock(
                profile.name,
                {"unit": unit, "origin": "2024-01-01"},
                "its numbers are no times since 1970: they count from some start, for which any day will do",
                f"are these {'seconds' if unit == 's' else 'milliseconds'}? Hours and weekdays mean nothing, either",
            )
    return None


def named_as_time(name: str) -> bool:
    """Returns whether a column's name says that it holds times."""
    return not TIME_WORDS.isdisjoint(words_of(name))


def choose_clock(profiles: Iterable[Profile]) -> Clock | None:
    """Returns the clock of the column that says best when a row happened: the finest, by name, and the first."""
    columns = list(profiles)
    clocks = [clock for profile in columns if (clock := clock_of(profile)) and _may_be(profile)]
    if not clocks:
        return next((clock for profile in columns if (clock := relative_clock(profile))), None)
    return min(clocks, key=lambda clock: (clock.is_coarse, _rank(clock.column)))


def _may_be(profile: Profile) -> bool:
    """Returns whether numbers that look like times may be some: ids do, too."""
    return profile.numbers is None or named_as_time(profile.name) or profile.name.startswith("column_")


def _rank(name: str) -> tuple[int, int]:
    words: Sequence[str] = words_of(name)
    places = [_RATHER.index(word) for word in words if word in _RATHER]
    return min(places, default=len(_RATHER)), len(words)
