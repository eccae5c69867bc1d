"""Executes a component of the shared run once more, on the artifacts that it read there."""

from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx import types
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.orchestration import metadata
from tfx.types import artifact_utils
from whole_runs import Run

from pipeline.config import RunConfig
from pipeline.pipeline import create_pipeline
from schema.loading import load_spec


def inputs_of(run: Run, component: str) -> dict[str, list[types.Artifact]]:
    """Returns the artifacts that the component of that id read in the run, by the input's name."""
    store = mlmd.MetadataStore(metadata.sqlite_metadata_connection_config(str(run.output / "metadata.sqlite")))
    (node,) = [node for node in store.get_contexts_by_type("node") if node.name.endswith(f".{component}")]
    executions = store.get_executions_by_context(node.id)
    complete = [execution.id for execution in executions if execution.last_known_state == pb.Execution.COMPLETE]
    inputs: dict[str, list[types.Artifact]] = {}
    for event in store.get_events_by_execution_ids([max(complete)]):
        if event.type == pb.Event.INPUT:
            (artifact,) = store.get_artifacts_by_id([event.artifact_id])
            (artifact_type,) = store.get_artifact_types_by_id([artifact.type_id])
            read = artifact_utils.deserialize_artifact(artifact_type, artifact)
            inputs.setdefault(event.path.steps[0].key, []).append(read)
    return inputs


def execute_again(
    run: Run, component: str, folder: Path, context: BaseBeamExecutor.Context, state: str | None = None
) -> dict[str, types.Artifact]:
    """Returns the outputs, which lie in `folder`, of the component of that id, executed in the context.

    Args:
      state: the folder of what Transform has analysed of days, "" for logs without days; None for that of the run.
    """
    config = RunConfig(logs=str(run.logs), output=str(folder), fingerprint="")
    nodes = {node.id: node for node in create_pipeline(load_spec(run.spec), config).components}
    inputs, outputs = inputs_of(run, component), {}
    if state is not None:
        for examples in inputs["examples"]:
            examples.set_string_custom_property("state", state)
    for name, channel in nodes[component].outputs.items():
        outputs[name] = channel.type()
        outputs[name].uri = str(folder / component / name)
    nodes[component].executor_spec.executor_class(context).Do(
        inputs,
        {name: [artifact] for name, artifact in outputs.items()},
        nodes[component].exec_properties,
    )
    return outputs
