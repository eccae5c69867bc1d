"""Which blessed model a candidate is compared with."""

import json
import logging
from pathlib import PurePosixPath

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
        wanted = _contract(candidate)
        comparable = [model for model in input_dict["model"] if model.id != candidate.id and _contract(model) == wanted]
        blessed = LatestBlessedModelStrategy().resolve_artifacts(
            store, {"model": comparable, "model_blessing": list(input_dict["model_blessing"])}
        )
        return {"candidate": [candidate], **(blessed or {})}


def _contract(model: types.Artifact) -> tuple | None:
    """What a model reads and predicts; None where the model's files are gone."""
    path = PurePosixPath(path_utils.serving_model_path(model.uri)) / "assets.extra" / "ranking_spec.json"
    try:
        with fileio.open(str(path)) as file:
            spec = RankingSpec.from_json(file.read())
    except (OSError, ValueError, fileio.NotFoundError) as error:
        logging.info("No baseline from %s: %s", model.uri, error)
        return None
    tasks = [json.loads(task.model_dump_json(exclude={"weight"})) for task in spec.tasks]
    return example_columns(spec), tasks
