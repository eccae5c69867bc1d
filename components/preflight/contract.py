"""Which models can stand in for one another: those that read the same columns and predict the same tasks."""

from dataclasses import dataclass

from tfx.dsl.io import fileio

from schema.columns import example_columns
from schema.spec import RankingSpec

# Where a served model keeps the spec that it was trained by.
SPEC_FILE = "assets.extra/ranking_spec.json"


class NoContractError(ValueError):
    """A model's files are gone, or don't say which spec it was trained by."""


@dataclass(frozen=True)
class Contract:
    """The raw columns that a model reads, and its tasks with all that defines their labels."""

    columns: frozenset[tuple[str, str, bool]]
    tasks: tuple[str, ...]

    @classmethod
    def of_spec(cls, spec: RankingSpec) -> "Contract":
        return cls(
            columns=frozenset((column.name, column.dtype, column.ragged) for column in example_columns(spec)),
            tasks=tuple(task.model_dump_json(exclude={"weight", "exponent"}) for task in spec.tasks),
        )

    @classmethod
    def of_model(cls, saved_model: str) -> "Contract":
        """That of the SavedModel in the folder.

        Raises:
          NoContractError: it has no spec, or not one that this release takes.
        """
        path = f"{saved_model}/{SPEC_FILE}"
        if not fileio.exists(path):
            raise NoContractError(f"there is no {path}")
        with fileio.open(path) as file:
            text = file.read()
        try:
            return cls.of_spec(RankingSpec.from_json(text))
        except ValueError as error:
            # An older release of Fulcrum may have written what this one doesn't take.
            raise NoContractError(str(error)) from None

    def misfit(self, candidate: "Contract") -> str | None:
        """Why examples for `candidate` can't be put to this model too: what they lack or label otherwise; else None."""
        missing = sorted(name for name, *_ in self.columns - candidate.columns)
        if missing:
            return f"it reads columns that the examples lack or have of another type: {', '.join(missing)}"
        if self.tasks != candidate.tasks:
            return "it predicts other tasks, or the same ones of other labels"
        return None
