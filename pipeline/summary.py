"""What a run did, read from its metadata: data counts, each task's metrics, the verdict and its reasons, the places."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
import tensorflow_model_analysis as tfma
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.components.evaluator import constants as evaluator_constants

from components.evaluation_report import INDEX
from components.interaction_example_gen.executor import read_summary

# Slices with fewer examples in a task's sample space say little about the worst one.
MIN_SLICE_EXAMPLES = 100


class NoRunError(ValueError):
    """The folder holds no run."""


@dataclass(frozen=True)
class TaskResult:
    """One task's metrics overall, and its worst slice by the metric that its gate reads."""

    task: str
    regression: bool
    metrics: dict[str, float]
    worst_slice: str | None
    worst_value: float | None
    slices: int

    @property
    def headline(self) -> str:
        return "mean_squared_error" if self.regression else "auc"


@dataclass(frozen=True)
class RunSummary:
    """The latest run in a folder. Where a stage failed, what came after it is empty."""

    pipeline: str
    run_id: str
    stages: dict[str, str]
    ingest: dict[str, Any] = field(default_factory=dict)
    tasks: tuple[TaskResult, ...] = ()
    blessed: bool | None = None
    reasons: tuple[str, ...] = ()
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
            ("evaluation", "Evaluator", "evaluation"),
        )
        if key in outputs.get(stage, {})
    }
    pushed = outputs.get("Pusher", {}).get("pushed_model")
    if pushed and _custom(pushed, "pushed"):
        places["pushed model"] = _custom(pushed, "pushed_destination")
    if written := outputs.get("EvaluationReport", {}).get("report"):
        places["report"] = f"{written.uri}/{INDEX}"
    blessing = outputs.get("Evaluator", {}).get("blessing")
    infra = outputs.get("ServingValidator", {}).get("blessing")
    evaluation = places.get("evaluation")
    quarantine = outputs.get("InteractionExampleGen", {}).get("quarantine")
    return RunSummary(
        pipeline=_pipeline_name(store, run),
        run_id=run.name,
        stages=stages,
        ingest=read_summary(quarantine.uri) if quarantine else {},
        tasks=_task_results(evaluation) if evaluation else (),
        blessed=bool(_custom(blessing, evaluator_constants.ARTIFACT_PROPERTY_BLESSED_KEY)) if blessing else None,
        reasons=_reasons(evaluation) if evaluation else (),
        refused=_custom(infra, "reason") or "" if infra and not _custom(infra, "blessed") else "",
        baseline=_custom(blessing, evaluator_constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY) if blessing else None,
        places=places,
    )


def _executions(store: mlmd.MetadataStore, run: pb.Context) -> dict[str, pb.Execution]:
    """The run's executions by stage, in the order in which they started."""
    types = {kind.id: kind.name for kind in store.get_execution_types()}
    found = {}
    for execution in sorted(store.get_executions_by_context(run.id), key=lambda execution: execution.id):
        found[types[execution.type_id].rpartition(".")[2]] = execution
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


def _task_results(evaluation: str) -> tuple[TaskResult, ...]:
    result = tfma.load_eval_result(evaluation, model_name=_candidate(evaluation))
    overall = next(by_output for key, by_output in result.slicing_metrics if not key)
    tasks = []
    for task in dict.fromkeys(name for metrics in result.config.metrics_specs for name in metrics.output_names):
        metrics = {name: _number(value) for name, value in overall[task][""].items()}
        regression = "mean_squared_error" in metrics
        headline = "mean_squared_error" if regression else "auc"
        slices = []
        for key, by_output in result.slicing_metrics:
            values = by_output.get(task, {}).get("", {})
            count = _number(values.get("weighted_example_count", {}))
            value = _number(values.get(headline, {}))
            if key and count >= MIN_SLICE_EXAMPLES and value == value:
                slices.append((value, ", ".join(f"{column}={_text(value)}" for column, value in key)))
        worst = (max if regression else min)(slices, default=(None, None))
        tasks.append(TaskResult(task, regression, metrics, worst[1], worst[0], len(slices)))
    return tuple(tasks)


def _candidate(evaluation: str) -> str | None:
    """TFMA names the models only when it compared two."""
    config = tfma.load_eval_result(evaluation, model_name="").config
    names = [spec.name for spec in config.model_specs if not spec.is_baseline]
    return names[0] if len(config.model_specs) > 1 else ""


def _number(value: dict[str, Any]) -> float:
    return float(value.get("doubleValue", "nan")) if isinstance(value, dict) else float("nan")


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _reasons(evaluation: str) -> tuple[str, ...]:
    """Why the model was not blessed: each failed threshold with its value."""
    result = tfma.load_validation_result(evaluation)
    reasons = []
    for validation in result.metric_validations_per_slice:
        for failure in validation.failures:
            key, threshold = failure.metric_key, failure.metric_threshold
            value = failure.metric_value.double_value.value
            reasons.append(f"{key.output_name}: {_broken(key.name, value, threshold, failure.message)}")
    return tuple(reasons)


def _broken(metric: str, value: float, threshold: Any, message: str) -> str:
    if threshold.HasField("change_threshold"):
        allowed = threshold.change_threshold.absolute.value
        return f"{metric} changed by {value:+.4f} against the blessed model, allowed {allowed:+.4f}"
    bounds = threshold.value_threshold
    if bounds.HasField("lower_bound") and value < bounds.lower_bound.value:
        return f"{metric} is {value:.4f}, below the gate's {bounds.lower_bound.value:.4f}"
    if bounds.HasField("upper_bound") and value > bounds.upper_bound.value:
        return f"{metric} is {value:.4f}, above the gate's {bounds.upper_bound.value:.4f}"
    return f"{metric} is {value:.4f}; {message}"
