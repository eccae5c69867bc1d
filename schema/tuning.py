"""What is tried before the ranker is trained: the spec's optional `tuning` section."""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from schema.modelling import (
    BatchSize,
    Bottom,
    Experts,
    Positive,
    Probability,
    RatioLoss,
    Schedule,
    Strength,
    Warmup,
)
from schema.parts import Frozen, Name


def _different(values: tuple) -> tuple:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"expected candidates that differ, got {value!r} twice")
    return values


_Units = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, strict=False)]
_Candidates = (Field(strict=False), AfterValidator(_different))


class Tuning(Frozen):
    """At most `trials` combinations of the candidates are trained, each for `epochs`; the best is then trained whole.

    The best is so by its best epoch, by what early stopping watches (`training.stop_by`). What has no candidates stays
    as `model` and `training` say.
    """

    trials: Annotated[int, Field(ge=1, le=1000)] = 10
    # None: as many as training has.
    epochs: Annotated[int, Field(ge=1)] | None = None
    routing: Annotated[tuple[Name, ...], *_Candidates] = ()
    bottom: Annotated[tuple[Bottom, ...], *_Candidates] = ()
    # A count for every task.
    task_experts: Annotated[tuple[Experts, ...], *_Candidates] = ()
    shared_experts: Annotated[tuple[Experts, ...], *_Candidates] = ()
    expert_units: Annotated[tuple[_Units, ...], *_Candidates] = ()
    products: Annotated[tuple[bool, ...], *_Candidates] = ()
    batch_size: Annotated[tuple[BatchSize, ...], *_Candidates] = ()
    learning_rate: Annotated[tuple[Positive, ...], *_Candidates] = ()
    embedding_learning_rate: Annotated[tuple[Positive, ...], *_Candidates] = ()
    schedule: Annotated[tuple[Schedule, ...], *_Candidates] = ()
    warmup: Annotated[tuple[Warmup, ...], *_Candidates] = ()
    averaging: Annotated[tuple[Probability, ...], *_Candidates] = ()
    dropout: Annotated[tuple[Probability, ...], *_Candidates] = ()
    embedding_dropout: Annotated[tuple[Probability, ...], *_Candidates] = ()
    id_mask: Annotated[tuple[Probability, ...], *_Candidates] = ()
    embedding_l2: Annotated[tuple[Strength, ...], *_Candidates] = ()
    weight_decay: Annotated[tuple[Strength, ...], *_Candidates] = ()
    clip_norm: Annotated[tuple[Positive, ...], *_Candidates] = ()
    ratio_loss: Annotated[tuple[RatioLoss, ...], *_Candidates] = ()
    # `weight` of `training.ranking_loss`.
    ranking_loss_weight: Annotated[tuple[Positive, ...], *_Candidates] = ()

    @model_validator(mode="after")
    def _something_to_try(self) -> Self:
        if not self.candidates:
            fields = ", ".join(f"`{name}`" for name in type(self).model_fields if name not in ("trials", "epochs"))
            raise ValueError(f"expected a list of candidates for at least one of {fields}, got none")
        return self

    @property
    def candidates(self) -> dict[str, tuple[Any, ...]]:
        """Returns the values to try of each setting that has some."""
        names = [name for name in type(self).model_fields if name not in ("trials", "epochs")]
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    @property
    def combinations(self) -> int:
        return math.prod(len(values) for values in self.candidates.values())

    def combination(self, index: int) -> dict[str, Any]:
        """Returns the combination number `index`, from 0, in the order of nested loops over the candidates."""
        chosen = {}
        for name, values in reversed(self.candidates.items()):
            index, position = divmod(index, len(values))
            chosen[name] = values[position]
        return {name: chosen[name] for name in self.candidates}

    def chosen(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the candidates that hyperparameters (`hyperparameter`) stand for, without other settings."""
        return {
            name: next(value for value in values if hyperparameter(value) == hyperparameters[name])
            for name, values in self.candidates.items()
        }

    def without(self, settings: Iterable[str]) -> Self | None:
        """Returns the same with no candidates for these settings; None where nothing is left to try."""
        rest = self.model_copy(update={name: () for name in settings if name in self.candidates})
        return rest if rest.candidates else None


def hyperparameter(value: Any) -> int | float | str:
    """Returns a candidate as KerasTuner takes it: layer widths as text, `64x32`."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else value
