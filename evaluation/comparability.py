"""On which tasks another model can be compared with the candidate: those that mean the same in both."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from tfx.dsl.io import fileio
from tfx.utils import path_utils

from schema.columns import example_columns
from schema.served import SPEC_FILE
from schema.spec import RankingSpec

# What a task may differ in and have the same labels.
_NOT_OF_LABELS = {"weight", "exponent", "transform", "loss"}
_UNKNOWN = "what its tasks mean is not known"


@dataclass(frozen=True)
class Contract:
    """The raw columns that a model reads, and each task with all that defines its labels."""

    columns: frozenset[tuple[str, str, bool, int | None]]
    tasks: Mapping[str, str]


def contract(spec: RankingSpec) -> Contract:
    """Returns what a model of this spec reads and predicts."""
    return Contract(
        frozenset(column.layout for column in example_columns(spec) if column.side != "target"),
        {task.name: task.model_dump_json(exclude=_NOT_OF_LABELS) for task in spec.tasks},
    )


def serving_path(model_uri: str) -> str:
    """Returns the folder of the SavedModel in a Model artifact."""
    return path_utils.serving_model_path(model_uri)


def model_spec(saved_model: str) -> RankingSpec | None:
    """Returns the spec that a SavedModel was trained by; None where its files are gone or have no spec that we read."""
    path = f"{saved_model}/{SPEC_FILE}"
    if not fileio.exists(path):
        logging.info("%s: its tasks and routing are not known: there is no %s", saved_model, path)
        return None
    with fileio.open(path) as file:
        text = file.read()
    try:
        return RankingSpec.from_json(text)
    except ValueError as error:
        # An older release of Fulcrum may have written what this one doesn't take.
        logging.info("%s: its tasks and routing are not known: %s", saved_model, error)
        return None


def model_contract(saved_model: str) -> Contract | None:
    """Returns what a SavedModel reads and predicts; None where it has no spec that we read (`model_spec`)."""
    spec = model_spec(saved_model)
    return contract(spec) if spec else None


def not_compared(candidate: Contract, comparand: Contract | None) -> dict[str, str]:
    """Returns why, of each of the candidate's tasks that the other can't be compared on; empty where it can on all.

    The examples are the candidate's: the other model may read fewer columns, not more.
    """
    if comparand is None:
        return dict.fromkeys(candidate.tasks, f"it has no readable {SPEC_FILE}, so that {_UNKNOWN}")
    lacking = sorted(name for name, *_ in comparand.columns - candidate.columns)
    if lacking:
        return dict.fromkeys(candidate.tasks, f"it reads {', '.join(lacking)}, which the examples don't have so")
    reasons = {}
    for name, meaning in candidate.tasks.items():
        if name not in comparand.tasks:
            reasons[name] = "it doesn't have this task"
        elif comparand.tasks[name] != meaning:
            reasons[name] = "the task of this name was defined differently there"
    return reasons
