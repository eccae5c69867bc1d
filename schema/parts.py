"""What the sections of a ranking spec are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="a lower-case identifier")]


class Frozen(BaseModel):
    """A section: nothing changes after validation, and no key is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def nonempty(value: tuple) -> tuple:
    if not value:
        raise ValueError("expected at least one")
    return value
