"""Which blessed model a candidate is compared with."""

import logging
from dataclasses import dataclass

from tfx import types
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.dsl.io import fileio
from tfx.utils import path_utils

from schema.columns import example_columns
from schema.spec import RankingSpec


class LatestComparableModelStrategy(resolver.ResolverStrategy):
    """The latest blessed model of the same tasks and inputs, other than the candidate itself.

    A blessed model of other tasks or features can't be evaluated on these examples. The candidate is left out because a
    cached run would otherwise meet its own blessing and compare the model with itself.
    """

    def resolve_artifacts(
        self, store, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        candidate = input_dict["candidate"][0]
        ours = _contract(candidate)
        comparable = [
            model for model in input_dict["model"] if model.id != candidate.id and _fits(_contract(model), ours)
        ]
        blessed = LatestBlessedModelStrategy().resolve_artifacts(
            store, {"model": comparable, "model_blessing": list(input_dict["model_blessing"])}
        )
        return {"candidate": [candidate], **(blessed or {})}


@dataclass(frozen=True)
class _Contract:
    """The raw columns that a model reads, and its tasks with all that defines their labels."""

    columns: frozenset[tuple[str, str, bool]]
    tasks: tuple[str, ...]


def _fits(baseline: _Contract | None, candidate: _Contract | None) -> bool:
    """Whether the examples of the candidate have all that the baseline reads, and label what it predicts."""
    return (
        baseline is not None
        and candidate is not None
        and baseline.columns <= candidate.columns
        and baseline.tasks == candidate.tasks
    )


def _contract(model: types.Artifact) -> _Contract | None:
    """None where the model's files are gone or have no spec."""
    path = f"{path_utils.serving_model_path(model.uri)}/assets.extra/ranking_spec.json"
    if not fileio.exists(path):
        logging.info("No baseline from %s: there is no %s", model.uri, path)
        return None
    with fileio.open(path) as file:
        text = file.read()
    try:
        spec = RankingSpec.from_json(text)
    except ValueError as error:
        # An older release of Fulcrum may have written what this one doesn't take.
        logging.info("No baseline from %s: %s", model.uri, error)
        return None
    return _Contract(
        columns=frozenset((column.name, column.dtype, column.ragged) for column in example_columns(spec)),
        tasks=tuple(task.model_dump_json(exclude={"weight", "exponent"}) for task in spec.tasks),
    )
