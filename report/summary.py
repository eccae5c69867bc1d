"""What a run did, read from its metadata: data counts, the evaluation, the verdict, the places."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.components.evaluator import constants as evaluator_constants

from evaluation.result import Evaluation, read
from ingest.findings import read_summary
from report import INDEX


class NoRunError(ValueError):
    """The folder holds no run."""


@dataclass(frozen=True)
class RunSummary:
    """The latest run in a folder. Where a stage failed, what came after it is empty."""

    pipeline: str
    run_id: str
    stages: dict[str, str]
    ingest: dict[str, Any] = field(default_factory=dict)
    # The Tuner's trials from the best, each with its `score`, the mean eval loss, and its settings by name.
    trials: list[dict[str, Any]] = field(default_factory=list)
    # None where the evaluator was not reached; so is `blessed`.
    evaluation: Evaluation | None = None
    blessed: bool | None = None
    # Why ServingValidator refused the model; empty where it didn't.
    refused: str = ""
    baseline: str | None = None
    places: dict[str, str] = field(default_factory=dict)


def load_summary(output: str | Path) -> RunSummary:
    """Reads the metadata of the latest run below `output`.

    Raises:
      NoRunError: there is no metadata, or no run in it.
    """
    path = Path(output) / "metadata.sqlite"
    if not path.is_file():
        raise NoRunError(
            f"{output}: no run here: expected a folder that `fulcrum run --output` wrote (metadata.sqlite)"
        )
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READONLY
    store = mlmd.MetadataStore(config)
    runs = store.get_contexts_by_type("pipeline_run")
    if not runs:
        raise NoRunError(f"{output}: no run was started here yet")
    run = max(runs, key=lambda context: context.id)
    executions = _executions(store, run)
    outputs = {stage: _outputs(store, execution) for stage, execution in executions.items()}
    stages = {
        stage: pb.Execution.State.Name(execution.last_known_state).lower() for stage, execution in executions.items()
    }
    places = {
        name: outputs[stage][key].uri
        for name, stage, key in (
            ("examples", "InteractionExampleGen", "examples"),
            ("quarantine", "InteractionExampleGen", "quarantine"),
            ("model", "Trainer", "model"),
            ("TensorBoard logs", "Trainer", "model_run"),
            ("evaluation", "SeesawEvaluator", "evaluation"),
        )
        if key in outputs.get(stage, {})
    }
    pushed = outputs.get("Pusher", {}).get("pushed_model")
    if pushed and _custom(pushed, "pushed"):
        places["pushed model"] = _custom(pushed, "pushed_destination")
    if written := outputs.get("EvaluationReport", {}).get("report"):
        places["report"] = f"{written.uri}/{INDEX}"
    blessing = outputs.get("SeesawEvaluator", {}).get("blessing")
    infra = outputs.get("ServingValidator", {}).get("blessing")
    evaluation = places.get("evaluation")
    quarantine = outputs.get("InteractionExampleGen", {}).get("quarantine")
    tuned = outputs.get("Tuner", {}).get("tuner_results")
    return RunSummary(
        pipeline=_pipeline_name(store, run),
        run_id=run.name,
        stages=stages,
        ingest=read_summary(quarantine.uri) if quarantine else {},
        trials=json.loads((Path(tuned.uri) / "tuner_results.json").read_text()) if tuned else [],
        evaluation=read(evaluation) if evaluation else None,
        blessed=bool(_custom(blessing, evaluator_constants.ARTIFACT_PROPERTY_BLESSED_KEY)) if blessing else None,
        refused=_custom(infra, "reason") or "" if infra and not _custom(infra, "blessed") else "",
        baseline=_custom(blessing, evaluator_constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY) if blessing else None,
        places=places,
    )


def _executions(store: mlmd.MetadataStore, run: pb.Context) -> dict[str, pb.Execution]:
    """The run's executions by stage, in the order in which they started."""
    found = {}
    for execution in sorted(store.get_executions_by_context(run.id), key=lambda execution: execution.id):
        for context in store.get_contexts_by_execution(execution.id):
            if context.type == "node":
                # `<pipeline>.<node>`
                found[context.name.rpartition(".")[2]] = execution
    return found


def _outputs(store: mlmd.MetadataStore, execution: pb.Execution) -> dict[str, pb.Artifact]:
    events = store.get_events_by_execution_ids([execution.id])
    keys = {
        event.artifact_id: event.path.steps[0].key
        for event in events
        if event.type in (pb.Event.OUTPUT, pb.Event.INTERNAL_OUTPUT) and event.path.steps
    }
    return {keys[artifact.id]: artifact for artifact in store.get_artifacts_by_id(list(keys))}


def _pipeline_name(store: mlmd.MetadataStore, run: pb.Context) -> str:
    """The name of the pipeline that the run is one of: the context that an execution of it also stands in."""
    for execution in store.get_executions_by_context(run.id):
        for context in store.get_contexts_by_execution(execution.id):
            if context.type == "pipeline":
                return context.name
    return run.name


def _custom(node: Any, key: str) -> Any:
    values = node.custom_properties
    return getattr(values[key], values[key].WhichOneof("value")) if key in values else None
