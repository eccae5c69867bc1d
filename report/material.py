"""What a report is made from: the artifacts of a run, read. Whatever is missing stays None or empty."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.dsl.io import fileio

from evaluation.importance import Importances
from evaluation.importance import read as read_importances
from evaluation.result import Evaluation
from evaluation.result import read as read_evaluation
from ingest.findings import read_summary
from report.lineage import Lineage
from report.statistic_rows import StatisticExamples, read_statistic_examples
from schema.anomalies import ANOMALIES_FILE, PAIR_FOLDER, SPLIT_FOLDER
from schema.spec import RankingSpec
from schema.training_records import (
    DIAGNOSTICS_FILE,
    HISTORY_FILE,
    Diagnostics,
    History,
    parse_diagnostics,
    parse_history,
)

# Under these keys a report looks for its artifacts; the output keys of the components that write them.
EVALUATION, MODEL_RUN, QUARANTINE, EXAMPLES, STATISTICS, ANOMALIES, DRIFT = (
    "evaluation",
    "model_run",
    "quarantine",
    "examples",
    "statistics",
    "anomalies",
    "drift",
)
# Of EXAMPLES: the property that holds the spec that they were made by, as JSON.
SPEC = "spec"
INFRA_BLESSING, PUSHED_MODEL = "infra_blessing", "pushed_model"

_STATISTICS_FILE = "FeatureStats.pb"


@dataclass(frozen=True)
class Artifact:
    """Where an artifact is, and its custom properties."""

    uri: str
    properties: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Material:
    """All that is known of a run.

    Attributes:
      counts: of ingest, as `interaction_example_gen.findings.summary` has them.
      statistics, anomalies: by split.
      drift: the anomalies that DistributionValidator found, by pair of splits (`test_train`).
      signals: some examples' statistics of the past, where the spec declares any.
      importances: of the candidate's inputs by task, where they were measured.
      unreadable: what could not be read, in words.
    """

    pipeline: str
    run_id: str
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    history: History | None = None
    diagnostics: Diagnostics | None = None
    counts: dict[str, Any] | None = None
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatistics] = field(default_factory=dict)
    anomalies: Mapping[str, anomalies_pb2.Anomalies] = field(default_factory=dict)
    drift: Mapping[str, anomalies_pb2.Anomalies] = field(default_factory=dict)
    lineage: Lineage | None = None
    signals: StatisticExamples | None = None
    importances: Importances | None = None
    unreadable: tuple[str, ...] = ()

    @property
    def refused(self) -> str | None:
        """Returns why ServingValidator refused the model; None where it didn't."""
        infra = self.artifacts.get(INFRA_BLESSING)
        if infra is None or infra.properties.get("blessed", 1):
            return None
        return str(infra.properties.get("reason") or "ServingValidator gave no reason")

    @property
    def pushed(self) -> bool:
        model = self.artifacts.get(PUSHED_MODEL)
        return model is not None and bool(model.properties.get("pushed"))


# Which output of which stage a report reads under which key.
SOURCES = {
    EVALUATION: ("SeesawEvaluator", "evaluation"),
    MODEL_RUN: ("Trainer", "model_run"),
    QUARANTINE: ("InteractionExampleGen", "quarantine"),
    EXAMPLES: ("InteractionExampleGen", "examples"),
    STATISTICS: ("StatisticsGen", "statistics"),
    ANOMALIES: ("ExampleValidator", "anomalies"),
    DRIFT: ("DistributionValidator", "anomalies"),
    INFRA_BLESSING: ("ServingValidator", "blessing"),
    PUSHED_MODEL: ("Pusher", "pushed_model"),
}


def artifacts_of(run: Lineage) -> dict[str, Artifact]:
    """Returns the artifacts of the run that a report reads, by their keys; those it didn't come to are absent."""
    outputs = {key: run.output(stage, output_key) for key, (stage, output_key) in SOURCES.items()}
    artifacts = {key: Artifact(used.uri, used.properties) for key, used in outputs.items() if used}
    if EXAMPLES in artifacts and (spec := _spec_of(run)):
        artifacts[EXAMPLES] = replace(artifacts[EXAMPLES], properties={**artifacts[EXAMPLES].properties, SPEC: spec})
    return artifacts


def _spec_of(run: Lineage) -> str | None:
    """Returns the spec as SeesawEvaluator had it, or, in a run that failed before, as ingest had it."""
    stages = [run.stage(name) for name in ("SeesawEvaluator", "InteractionExampleGen")]
    return next((str(stage.properties["spec"]) for stage in stages if stage and "spec" in stage.properties), None)


def read_material(
    pipeline: str, run_id: str, artifacts: Mapping[str, Artifact], lineage: Lineage | None = None
) -> Material:
    """Reads the artifacts that there are. A file that is gone or can't be read doesn't cost the rest of the report."""
    unreadable: list[str] = []

    def read(key: str, reader) -> Any:
        if key not in artifacts:
            return None
        try:
            return reader(artifacts[key].uri)
        except (OSError, ValueError, tf.errors.OpError) as error:
            unreadable.append(f"{key}: {type(error).__name__}: {str(error).splitlines()[0]}")
            return None

    return Material(
        pipeline=pipeline,
        run_id=run_id,
        artifacts=artifacts,
        evaluation=read(EVALUATION, read_evaluation),
        history=read(MODEL_RUN, lambda uri: parse_history(_content(f"{uri}/{HISTORY_FILE}"))),
        diagnostics=read(MODEL_RUN, _read_diagnostics),
        counts=read(QUARANTINE, read_summary),
        statistics=read(STATISTICS, _read_statistics) or {},
        anomalies=read(ANOMALIES, lambda uri: _by_split(uri, ANOMALIES_FILE, anomalies_pb2.Anomalies)) or {},
        drift=read(DRIFT, lambda uri: _by_split(uri, ANOMALIES_FILE, anomalies_pb2.Anomalies, PAIR_FOLDER)) or {},
        lineage=lineage,
        signals=read(EXAMPLES, lambda uri: _read_signals(uri, artifacts[EXAMPLES].properties.get(SPEC))),
        importances=read(EVALUATION, read_importances),
        unreadable=tuple(unreadable),
    )


def _read_signals(uri: str, spec_json: object) -> StatisticExamples | None:
    if not spec_json:
        return None
    spec = RankingSpec.from_json(str(spec_json))
    return read_statistic_examples(uri, spec) if spec.statistics else None


def _read_diagnostics(uri: str) -> Diagnostics | None:
    path = f"{uri}/{DIAGNOSTICS_FILE}"
    if not fileio.exists(path):
        return None
    return parse_diagnostics(_content(path))


def _read_statistics(uri: str) -> dict[str, statistics_pb2.DatasetFeatureStatistics]:
    lists = _by_split(uri, _STATISTICS_FILE, statistics_pb2.DatasetFeatureStatisticsList)
    return {split: of_split.datasets[0] for split, of_split in lists.items() if of_split.datasets}


def _by_split(uri: str, name: str, message, prefix: str = SPLIT_FOLDER) -> dict[str, Any]:
    """Returns the message of each split, in the order train, eval, test, then by name."""
    splits = sorted(
        (folder.rstrip("/").removeprefix(prefix) for folder in fileio.listdir(uri) if folder.startswith(prefix)),
        key=lambda split: ({"train": 0, "eval": 1, "test": 2}.get(split, 3), split),
    )
    return {split: message.FromString(_content(f"{uri}/{prefix}{split}/{name}")) for split in splits}


def _content(path: str) -> bytes:
    with fileio.open(path, "rb") as file:
        return file.read()
