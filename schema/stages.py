"""What each stage of the pipeline depends on in the spec: a spec in which everything else is at its defaults.

A component holds its stage's part as JSON in a property, which is in TFX's cache key. So a change of the spec runs
those stages again that read what has changed, and no others. A field that a stage reads and its part lacks would be
served stale from the cache: tests/schema/stages_test.py names the stages of every field.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from schema.modelling import RankingLoss
from schema.spec import Model, RankingSpec, Split, Training
from schema.statistics import DEFAULT_PRIOR_STRENGTH
from schema.tasks import Task, Weight


def examples_part(spec: RankingSpec) -> RankingSpec:
    """Returns what defines the examples and what their columns mean; most parts are this with something added."""
    tasks = tuple(_labelled(task) for task in spec.tasks)
    rest: dict[str, Any] = {"slices": (), "gates": {}, "drift": None, "model": Model(), "training": Training()}
    return spec.model_copy(update={"tasks": tasks, **rest, "tuning": None})


def _labelled(task: Task) -> Task:
    """Returns the task with what its labels and their domain depend on."""
    return task.model_copy(update={"weight": Weight(), "exponent": task.default_exponent, "loss": "squared"})


def ingest_part(spec: RankingSpec) -> RankingSpec:
    """Returns what InteractionExampleGen reads: all that defines the examples, but not how values are encoded.

    What is derived of features is made later, in the graph.
    """
    unencoded = {"scale": "standardize", "buckets": 10, "vocabulary": None}
    features = tuple(feature.model_copy(update=unencoded) for feature in spec.features)
    statistics = spec.statistics and spec.statistics.model_copy(update={"prior_strength": DEFAULT_PRIOR_STRENGTH})
    return examples_part(spec).model_copy(update={"features": features, "derive": (), "statistics": statistics})


def snapshot_part(spec: RankingSpec) -> RankingSpec:
    """Returns what says which rows count, and as what: the key of the snapshots of a rolling window.

    Where the files lie and how many bad rows they may hold doesn't matter, nor do the tables, which aren't carried on.
    """
    features = tuple(feature for feature in spec.features_of("log") if not feature.derive)
    log = spec.log.model_copy(update={"files": ("*",), "max_bad_rows": 0.0, "unripe": "mask"})
    tables: dict[str, Any] = {"users": None, "items": None}
    return examples_part(spec).model_copy(
        update={"log": log, "features": features, "derive": (), **tables, "split": Split(), "statistics": None}
    )


def transform_part(spec: RankingSpec) -> RankingSpec:
    """Returns what Transform reads: the examples, what makes vocabularies, and what a ranking loss orders within."""
    model = Model(
        min_frequency=spec.model.min_frequency,
        max_vocabulary=spec.model.max_vocabulary,
        oov_buckets=spec.model.oov_buckets,
    )
    declared = spec.training.ranking_loss
    ranking_loss = declared and RankingLoss(kind="pairwise").model_copy(update={"within": declared.within})
    training = Training().model_copy(update={"ranking_loss": ranking_loss})
    return examples_part(spec).model_copy(update={"model": model, "training": training})


def training_part(spec: RankingSpec) -> RankingSpec:
    """Returns what Tuner and Trainer read: all but what judges the data and the model.

    A reference is a second Trainer in the graph, and changes nothing of the first.
    """
    training = spec.training.model_copy(update={"reference": False})
    return spec.model_copy(update={"slices": (), "gates": {}, "drift": None, "training": training})


def evaluation_part(spec: RankingSpec) -> RankingSpec:
    """Returns what SeesawEvaluator reads: the examples, what they are broken down by, and what a model must reach."""
    return examples_part(spec).model_copy(update={"slices": spec.slices, "gates": spec.gates})


def serving_part(spec: RankingSpec) -> RankingSpec:
    """Returns what ServingValidator reads: the examples, and the exponents of the ranking score (PLE, eq. 1)."""
    tasks = tuple(_labelled(task).model_copy(update={"exponent": task.exponent}) for task in spec.tasks)
    return examples_part(spec).model_copy(update={"tasks": tasks})


# By stage, in the order of the pipeline. Preflight takes the whole spec; `drift` and `training.reference` say which
# nodes the graph has (`pipeline.pipeline`).
STAGES: Mapping[str, Callable[[RankingSpec], RankingSpec]] = MappingProxyType(
    {
        "ingest": ingest_part,
        "snapshot": snapshot_part,
        "transform": transform_part,
        "training": training_part,
        "evaluation": evaluation_part,
        "serving": serving_part,
    }
)
