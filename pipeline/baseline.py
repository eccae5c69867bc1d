"""Which blessed model a candidate is compared with."""

import logging

from tfx import types
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.utils import path_utils

from components.preflight.contract import Contract, NoContractError


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


def _fits(baseline: Contract | None, candidate: Contract | None) -> bool:
    return baseline is not None and candidate is not None and baseline.misfit(candidate) is None


def _contract(model: types.Artifact) -> Contract | None:
    """None where the model's files are gone or have no spec."""
    try:
        return Contract.of_model(path_utils.serving_model_path(model.uri))
    except NoContractError as error:
        logging.info("No baseline from %s: %s", model.uri, error)
        return None
