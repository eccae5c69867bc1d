"""Chooses the models that training starts from."""

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx import types
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy

from components.preflight.fetched_models import find_saved_model


class LatestBlessedPairStrategy(resolver.ResolverStrategy):
    """The latest blessed model, and the single-task reference that was trained on the same examples.

    Both then go on with as many days behind them, so that what one is ahead by is not that it has seen more. Without
    such a reference, or where its files are gone, there is none to start from.
    """

    def resolve_artifacts(
        self, store: MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        blessed = LatestBlessedModelStrategy().resolve_artifacts(
            store, {name: list(input_dict[name]) for name in ("model", "model_blessing")}
        )
        references = []
        if blessed["model"]:
            examples = _examples_of(store, blessed["model"][0])
            references = [
                reference
                for reference in input_dict["reference"]
                if _examples_of(store, reference) & examples and find_saved_model(reference.uri)
            ]
        latest = max(references, key=lambda reference: reference.id, default=None)
        return {**blessed, "reference": [latest] if latest else []}


def _examples_of(store: MetadataStore, model: types.Artifact) -> set[int]:
    """Returns the ids of the examples that a model was trained on."""
    outputs = (event for event in store.get_events_by_artifact_ids([model.id]) if event.type == mlmd.Event.OUTPUT)
    used = store.get_events_by_execution_ids([event.execution_id for event in outputs])
    return {
        event.artifact_id
        for event in used
        if event.type == mlmd.Event.INPUT and any(step.key == "examples" for step in event.path.steps)
    }
