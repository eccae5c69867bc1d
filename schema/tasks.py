"""The tasks of a ranking spec, their kinds, and what everyone needs to know of a kind: which values it takes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from schema.condition import Condition
from schema.parts import Column, Frozen, Name

# What a task's labels are; `models.tasks.TASK_KINDS` has what training and serving make of each.
TaskKind = Literal["binary", "ratio", "unbounded"]


@dataclass(frozen=True)
class Domain:
    """The finite numbers that a task's labels, and a model's outputs for it, may be: `low <= value <= high`."""

    low: float = -math.inf
    high: float = math.inf

    def __str__(self) -> str:
        if math.isfinite(self.high):
            return f"within [{self.low:g}, {self.high:g}]"
        return f"at least {self.low:g}" if math.isfinite(self.low) else "a finite number"


UNIT_INTERVAL = Domain(0.0, 1.0)
ANY_NUMBER = Domain()


class Ratio(Frozen):
    """`numerator / denominator`, clipped to [0, 1]: a regression."""

    numerator: Column
    denominator: Column


class Weight(Frozen):
    """The loss weight of a task, `initial * decay^t` (PLE, eq. 10); the paper says both epoch and step for t."""

    initial: Annotated[float, Field(gt=0)] = 1.0
    decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    unit: Literal["epoch", "step"] = "epoch"


class Task(Condition):
    """What to predict, where it means something (`within`).

    A condition is binary, a ratio is a regression in [0, 1]; a column of `kind: regression` is `scale` times its own
    value, of any size.
    """

    name: Name
    ratio: Ratio | None = None
    within: Condition | None = None
    weight: Weight = Weight()
    # The power that the task's output has in the ranking score, if a request names none (PLE, eq. 1).
    exponent: float = 1.0
    kind: Literal["regression"] | None = None
    scale: Annotated[float, Field(gt=0)] = 1.0
    # What the loss is taken on: the label y, or log(1 + y), which takes no negative ones.
    transform: Literal["none", "log1p"] = "none"
    loss: Literal["squared", "huber"] = "squared"

    @property
    def task_kind(self) -> TaskKind:
        if self.ratio is not None:
            return "ratio"
        return "binary" if self.kind is None else "unbounded"

    @property
    def is_regression(self) -> bool:
        return self.task_kind != "binary"

    @property
    def domain(self) -> Domain:
        if self.task_kind != "unbounded":
            return UNIT_INTERVAL
        return Domain(low=0.0) if self.transform == "log1p" else ANY_NUMBER

    @property
    def takes_exponent(self) -> bool:
        """Returns whether the ranking score may have a power of the output: of negative numbers there is none."""
        return self.domain.low >= 0

    @property
    def default_exponent(self) -> float:
        return 1.0 if self.takes_exponent else 0.0

    @model_validator(mode="before")
    @classmethod
    def _without_a_power_stays_out_of_the_score(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping) and fields.get("kind") and fields.get("transform", "none") == "none":
            return {"exponent": 0.0, **fields}
        return fields

    @model_validator(mode="after")
    def _kind_has_its_keys(self) -> Self:
        if self.kind is None:
            for name in ("scale", "transform", "loss"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"`{name}` belongs to `kind: regression`, got {getattr(self, name)!r} without it")
            return self
        if self.column is None:
            what = "a `ratio`, a regression in [0, 1] already" if self.ratio else "an `event`"
            raise ValueError(f"`kind: regression` is of a `column`'s values, got {what}")
        if self.comparison:
            raise ValueError(f"`kind: regression` is of a column's values, got `{self.comparison[0]}`, which is binary")
        if self.exponent and not self.takes_exponent:
            raise ValueError(
                f"exponent: got {self.exponent:g}, expected 0 or `transform: log1p`: {self.name} may be negative, and "
                "the score is a product of powers"
            )
        return self
