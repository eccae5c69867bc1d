"""What a run did, in short: data counts, the evaluation, the verdict, the places. For the terminal."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfx.components.evaluator import constants as evaluator_constants

from evaluation.result import Evaluation
from evaluation.result import read as read_evaluation
from ingest.findings import read_summary
from report import INDEX
from report.lineage import Lineage, NoRunError, read_run
from report.material import EVALUATION, PUSHED_MODEL, QUARANTINE, Material, artifacts_of
from schema.spec import RankingSpec, Training

# Under which name the terminal shows which output of which stage.
_PLACES = (
    ("examples", "InteractionExampleGen", "examples"),
    ("quarantine", "InteractionExampleGen", "quarantine"),
    ("model", "Trainer", "model"),
    ("TensorBoard logs", "Trainer", "model_run"),
    ("evaluation", "SeesawEvaluator", "evaluation"),
)


@dataclass(frozen=True)
class RunSummary:
    """The latest run in a folder. Where a stage failed, what came after it is empty.

    Attributes:
      stages: the state of each stage, in the order in which they started.
      ingest: the counts, as `ingest.findings` writes them.
      trials: the Tuner's from the best, each with its `score`, what was stopped by, and its settings by name.
      stop_by: what the score is of, `training.stop_by` of the spec.
      evaluation, blessed: None where the evaluator was not reached.
      refused: why ServingValidator refused the model; empty where it didn't.
      baseline: the URI of the blessed model that this one was compared with.
      base_model, reference_base_model: the URIs of the models that training and the reference's started from.
      places: where what the run wrote is, by the name under which it is shown.
    """

    pipeline: str
    run_id: str
    stages: dict[str, str]
    ingest: dict[str, Any] = field(default_factory=dict)
    trials: list[dict[str, Any]] = field(default_factory=list)
    evaluation: Evaluation | None = None
    blessed: bool | None = None
    refused: str = ""
    baseline: str | None = None
    base_model: str | None = None
    reference_base_model: str | None = None
    places: dict[str, str] = field(default_factory=dict)
    stop_by: str = "loss"


def load_summary(output: str | Path) -> RunSummary:
    """Returns the summary of the latest run in a folder that `fulcrum run --output` wrote.

    Raises:
      NoRunError: there is no metadata, or no run in it.
    """
    return summarize(read_run(output))


def summarize(run: Lineage) -> RunSummary:
    """Returns the summary of a run."""
    artifacts = artifacts_of(run)
    material = Material(run.pipeline, run.run_id, artifacts)
    blessing = run.output("SeesawEvaluator", "blessing")
    bases = [run.input(stage, "base_model") for stage in ("Trainer", "ReferenceTrainer")]
    base_model, reference_base_model = (base.uri if base else None for base in bases)
    tuned = run.output("Tuner", "tuner_results")
    baseline = blessing and blessing.properties.get(evaluator_constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY)
    return RunSummary(
        pipeline=run.pipeline,
        run_id=run.run_id,
        stages={execution.stage: execution.state for execution in run.executions},
        ingest=read_summary(artifacts[QUARANTINE].uri) if QUARANTINE in artifacts else {},
        trials=json.loads((Path(tuned.uri) / "tuner_results.json").read_text()) if tuned else [],
        evaluation=read_evaluation(artifacts[EVALUATION].uri) if EVALUATION in artifacts else None,
        blessed=bool(blessing.properties.get(evaluator_constants.ARTIFACT_PROPERTY_BLESSED_KEY)) if blessing else None,
        refused=material.refused or "",
        baseline=str(baseline) if baseline else None,
        base_model=base_model,
        reference_base_model=reference_base_model,
        places=_places(run, material),
        stop_by=_stop_by(run),
    )


def _stop_by(run: Lineage) -> str:
    """Returns what the Tuner's trials were stopped by, as its spec has it."""
    tuner = run.stage("Tuner")
    config = json.loads(str(tuner.properties.get("custom_config") or "{}")) if tuner else {}
    return RankingSpec.from_json(config["spec"]).training.stop_by if "spec" in config else Training().stop_by


def _places(run: Lineage, material: Material) -> dict[str, str]:
    outputs = {name: run.output(stage, key) for name, stage, key in _PLACES}
    places = {name: used.uri for name, used in outputs.items() if used}
    if material.pushed:
        places["pushed model"] = str(material.artifacts[PUSHED_MODEL].properties["pushed_destination"])
    if report := run.output("EvaluationReport", "report"):
        places["report"] = f"{report.uri}/{INDEX}"
    return places


__all__ = ["NoRunError", "RunSummary", "load_summary", "summarize"]
