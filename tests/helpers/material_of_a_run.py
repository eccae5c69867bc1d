"""What a run leaves behind for its report, made by hand, with a script where the data's own words stand."""

from made_evaluation import SCRIPT, make_evaluation
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from evaluation.importance import Importance, Importances
from evaluation.result import Estimate
from report.lineage import Execution, Lineage, Used
from report.material import (
    INFRA_BLESSING,
    PUSHED_MODEL,
    Artifact,
    Material,
)
from schema.training_records import Diagnostics, EpochCosines, EpochRecord, EpochWeights, History

_TASKS = ("like", "share", "completion")


def make_material(**changes) -> Material:
    """A whole run, with some of its parts as the test wants them."""
    fields = {
        "pipeline": "shortvideo",
        "run_id": "2026-01-01T00:00:00",
        "artifacts": {
            INFRA_BLESSING: Artifact("runs/a/ServingValidator/blessing/8", {"blessed": 1}),
            PUSHED_MODEL: Artifact("runs/a/Pusher/pushed_model/9", {"pushed": 1}),
        },
        "evaluation": make_evaluation(),
        "history": _HISTORY,
        "diagnostics": _DIAGNOSTICS,
        "counts": _COUNTS,
        "statistics": {split: _statistics() for split in ("train", "test")},
        "anomalies": {"train": anomalies_pb2.Anomalies(), "test": _anomalies()},
        "drift": {"test_train": _drift()},
        "lineage": _LINEAGE,
        "importances": _IMPORTANCES,
    }
    return Material(**{**fields, **changes})


_HISTORY = History(
    examples=1_000,
    best_epoch=2,
    best_loss=0.3,
    epochs=tuple(
        EpochRecord(
            epoch,
            seconds=2.0,
            examples_per_second=500.0,
            train={task: {"loss": 0.5 / epoch, "auc": 0.6 + epoch / 20} for task in _TASKS},
            # The AUC of one class is not defined.
            eval={task: {"loss": 0.6 / epoch, "auc": None} for task in _TASKS},
        )
        for epoch in (1, 2, 3)
    ),
)
_DIAGNOSTICS = Diagnostics(
    gate_weights={"level_1/task_like": [0.5, 0.2, 0.3], "level_1/shared": [0.2, 0.2, 0.2, 0.4]},
    refinement_weights={"like": {"hour": 1.25, "author": 0.3}, "share": {"hour": 0.8, "author": 1.7}},
    gradient_cosine=(EpochCosines(1, {"like|share": -0.2, "like|completion": 0.1}),),
    loss_weights=(EpochWeights(1, {"like": 1.0, "share": 0.9}),),
)
_IMPORTANCES = Importances(
    "eval",
    10_000,
    300,
    {"like": "auc", "share": "auc", "completion": "mean_squared_error"},
    tuple(
        Importance(
            name,
            kind,
            {
                task: Estimate(loss, loss - 0.004, loss + 0.004)
                for task, loss in zip(("like", "share", "completion"), losses, strict=True)
            },
        )
        for name, kind, losses in (
            ("tab", "feature", (0.001, 0.0, 0.0)),
            ("author", "feature", (0.01, -0.006, 0.002)),
            ("liked", "behaviour", (0.03, 0.02, 0.01)),
        )
    ),
)
_COUNTS = {
    "sources": {"log": {"files": 1, "rows": 1_200, "quarantined": {"no timestamp": 3}}},
    "splits": {
        "train": {
            "examples": 1_000,
            "tasks": {
                "like": {"in_space": 1_000, "positives": 100},
                "share": {"in_space": 0, "positives": 0},
                "completion": {"in_space": 900, "label_sum": 450.0},
            },
        }
    },
    "window": {"examples": {"2026-01-01": 700, "2026-01-02": 300}, "carried_rows": 1_012},
}


def _statistics() -> statistics_pb2.DatasetFeatureStatistics:
    statistics = statistics_pb2.DatasetFeatureStatistics(num_examples=10)
    text = statistics.features.add(name="item_id", type=statistics_pb2.FeatureNameStatistics.STRING)
    text.string_stats.common_stats.num_non_missing = 9
    text.string_stats.common_stats.tot_num_values = 9
    text.string_stats.unique = 2
    for value, count in ((SCRIPT, 6), ("video 2", 3)):
        text.string_stats.top_values.add(value=value, frequency=count)
    number = statistics.features.add(name="activity", type=statistics_pb2.FeatureNameStatistics.FLOAT)
    number.num_stats.common_stats.num_non_missing = 10
    number.num_stats.mean = 2.5
    histogram = number.num_stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
    for low, count in ((0.0, 4), (2.0, 6)):
        histogram.buckets.add(low_value=low, high_value=low + 2, sample_count=count)
    return statistics


def _anomalies() -> anomalies_pb2.Anomalies:
    anomalies = anomalies_pb2.Anomalies()
    anomalies.anomaly_info["item_id"].short_description = f"Unexpected value: {SCRIPT}"
    return anomalies


def _drift() -> anomalies_pb2.Anomalies:
    anomalies = anomalies_pb2.Anomalies()
    anomalies.anomaly_info["country"].reason.add(description=f"The distance is 0.1, above 0.05. The value: {SCRIPT}")
    return anomalies


def _used(key: str, artifact: int, stage: str, uri: str) -> Used:
    return Used(key, artifact, key.title(), uri, stage, {})


_LINEAGE = Lineage(
    "shortvideo",
    "2026-01-01T00:00:00",
    (
        Execution(
            "InteractionExampleGen",
            "cached",
            1_767_225_600.0,
            1_767_225_601.0,
            (),
            (_used("examples", 1, "InteractionExampleGen", "/home/me/runs/a/artifacts/examples/1"),),
            {},
        ),
        Execution(
            "Trainer",
            "complete",
            1_767_225_601.0,
            1_767_225_661.5,
            (_used("examples", 1, "InteractionExampleGen", "/home/me/runs/a/artifacts/examples/1"),),
            (_used("model", 2, "Trainer", "/home/me/runs/a/artifacts/model/2"),),
            {},
        ),
        Execution("Pusher", "failed", 1_767_225_662.0, 1_767_225_662.0, (), (), {}),
    ),
)
