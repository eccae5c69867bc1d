"""Chooses the models that training starts from."""

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx import types
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy

from components.preflight.fetched_models import find_saved_model


class LatestBlessedPairStrategy(resolver.ResolverStrategy):
    """The latest blessed model, and the single-task reference that it was compared with when it was blessed.

    Both go on, so that what one is ahead by is not that it alone has seen the days before. Without such a reference, or
    where its files are gone, there is none to start from.
    """

    def resolve_artifacts(
        self, store: MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        blessed = LatestBlessedModelStrategy().resolve_artifacts(
            store, {name: list(input_dict[name]) for name in ("model", "model_blessing")}
        )
        compared = set().union(*(_references_of(store, blessing) for blessing in blessed["model_blessing"]))
        references = [
            reference
            for reference in input_dict["reference"]
            if reference.id in compared and find_saved_model(reference.uri)
        ]
        return {**blessed, "reference": references[:1]}


def _references_of(store: MetadataStore, blessing: types.Artifact) -> set[int]:
    """Returns the ids of the references that the evaluator read which gave a blessing: one, or none."""
    outputs = (event for event in store.get_events_by_artifact_ids([blessing.id]) if event.type == mlmd.Event.OUTPUT)
    used = store.get_events_by_execution_ids([event.execution_id for event in outputs])
    return {
        event.artifact_id
        for event in used
        if event.type == mlmd.Event.INPUT and any(step.key == "reference_model" for step in event.path.steps)
    }
