"""What the sections of a ranking spec are made of."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

Column = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="a lower-case identifier")]

_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def _duration(value: Any) -> int:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError("expected a duration such as 45s, 30m, 12h or 1d")
    return int(match[1]) * _SECONDS[match[2]]


# Seconds, written with a unit.
Duration = Annotated[int, BeforeValidator(_duration), PlainSerializer(lambda seconds: f"{seconds}s")]


def format_duration(seconds: int) -> str:
    """Returns the duration in its largest unit that divides it: `1d`, `90s`."""
    unit = next(unit for unit, length in _SECONDS.items() if seconds % length == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"


class Frozen(BaseModel):
    """A section: nothing changes after validation, and no key is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def nonempty(value: tuple) -> tuple:
    if not value:
        raise ValueError("expected at least one")
    return value
