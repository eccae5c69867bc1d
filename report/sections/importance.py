"""What the model reads and what each task would lose without it: permutation importance by task."""

from evaluation.importance import Importance, Importances
from evaluation.metrics import metric_named
from report.elements import Block, Cell, Section, Table
from report.figures import gain_cell
from report.material import Material


def section(material: Material) -> Section:
    """Shows what each input is worth to each task, and marks those that help one task and hurt another."""
    importances = material.importances
    if importances is None or not importances.inputs:
        why = "What the inputs are worth was not measured: there is no eval split, or an earlier version evaluated."
        return Section("importance", "Importance", [why])
    blocks: list[Block] = [_introduction(importances), *_torn_sentence(importances), _table(importances)]
    return Section("importance", "Importance", blocks)


def is_torn(importance: Importance) -> bool:
    """Returns whether the input helps a task and hurts another, both beyond their intervals."""
    return bool(importance.helps() and importance.hurts())


def _introduction(importances: Importances) -> str:
    took = "" if importances.seconds is None else f" in {importances.seconds:,.0f} s"
    return (
        "What a task’s metric loses once an input’s values are those of other examples: above 0 the input helps, in "
        "green where the interval by user leaves 0 out; below 0, in red, the task would be better without it. "
        f"Measured on {importances.examples:,} examples of {importances.users:,} users of {importances.split}{took}, "
        "one permutation an input; what is a user’s comes from another user. Inputs that say the same stand in for "
        "each other, and each looks worth less than both; of a hundred inputs without any worth about five leave 0 out."
    )


def _torn_sentence(importances: Importances) -> list[Block]:
    torn = [importance for importance in importances.inputs if is_torn(importance)]
    if not torn:
        return ["No input helps one task and hurts another beyond their intervals."]
    words = [
        f"{importance.name} helps {', '.join(importance.helps())} and hurts {', '.join(importance.hurts())}"
        for importance in torn
    ]
    return [f"Inputs on which tasks are torn: {'; '.join(words)}."]


def _table(importances: Importances) -> Table:
    tasks = {task: f"{task}, {metric_named(metric).label}" for task, metric in importances.metrics.items()}
    rows = [
        [
            Cell(importance.name),
            Cell(importance.kind),
            _mark(importance),
            *(gain_cell(importance.losses.get(task)) for task in tasks),
        ]
        for importance in sorted(importances.inputs, key=lambda importance: -_worth(importance, importances))
    ]
    return Table(
        "What each task’s metric loses without an input, with its interval; what is worth most to all tasks first",
        ("Input", "Kind", "Torn", *tasks.values()),
        rows,
        numeric=tuple(tasks.values()),
        sortable=True,
        filter_by="Kind",
    )


def _mark(importance: Importance) -> Cell:
    if not is_torn(importance):
        return Cell("", 0)
    return Cell("helps and hurts", 1, "unsure", f"hurts {', '.join(importance.hurts())}")


def _worth(importance: Importance, importances: Importances) -> float:
    """Returns the sum of the losses, each in shares of the task's largest."""
    total = 0.0
    for task, loss in importance.losses.items():
        largest = max(
            (abs(input_importance.losses[task].value or 0.0) for input_importance in importances.inputs), default=0.0
        )
        total += (loss.value or 0.0) / largest if largest else 0.0
    return total
