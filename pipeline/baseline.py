"""Chooses the blessed model that a candidate is compared with."""

from tfx import types
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy

from evaluation.comparability import Contract, model_contract, not_compared, serving_path


class LatestComparableModelStrategy(resolver.ResolverStrategy):
    """The latest blessed model that can be compared on a task at least, other than the candidate itself.

    What it can't be compared on, the evaluator names. The candidate is left out because a cached run would otherwise
    meet its own blessing and compare the model with itself.
    """

    def resolve_artifacts(
        self, store, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        candidate = input_dict["candidate"][0]
        contract = model_contract(serving_path(candidate.uri))
        comparable = [model for model in input_dict["model"] if model.id != candidate.id and _fits(contract, model)]
        blessed = LatestBlessedModelStrategy().resolve_artifacts(
            store, {"model": comparable, "model_blessing": list(input_dict["model_blessing"])}
        )
        return {"candidate": [candidate], **(blessed or {})}


def _fits(candidate: Contract | None, model: types.Artifact) -> bool:
    if candidate is None:
        return False
    return len(not_compared(candidate, model_contract(serving_path(model.uri)))) < len(candidate.tasks)
