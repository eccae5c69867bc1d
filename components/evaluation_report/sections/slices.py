"""Where the model falls behind: every task on every slice, the worst first."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from components.evaluation_report import charts
from components.evaluation_report.elements import Cell, Figure, Section, Table
from components.evaluation_report.figures import count_cell, estimate_cell, gain_cell, signed, tone_of, turned
from components.evaluation_report.material import Material
from components.seesaw_evaluator.result import (
    METRICS,
    Estimate,
    Evaluation,
    ModelName,
    SliceResult,
    Task,
    gain,
    slice_text,
)

# A page with more rows than this helps nobody; the evaluation itself has them all.
MAX_SLICES = 300
_IN_CHART = 15


@dataclass(frozen=True)
class _Row:
    task: Task
    result: SliceResult
    behind: Estimate | None
    to_whole: float | None

    @property
    def order(self) -> float:
        """The lowest gain first; what has none stands last."""
        value = self.behind.value if self.behind else None
        return math.inf if value is None else value


def section(material: Material) -> Section:
    """The slices, sorted by how far they fall behind."""
    evaluation = material.evaluation
    if evaluation is None or not any(result.slice for result in evaluation.results):
        why = "There is no evaluation." if evaluation is None else "The spec names no slices, or the split has none."
        return Section("slices", "Slices", [why])
    against: ModelName | None = next((n for n in ("baseline", "reference") if evaluation.model(n)), None)
    behind = {
        "baseline": "the blessed model on the same slice",
        "reference": "the single-task model on the same slice",
        None: "its own value on the whole split (there is no other model to compare with, so without an interval)",
    }[against]
    rows = sorted(_rows(evaluation, against), key=lambda row: row.order)
    sentence = (
        f"How each task does on each slice against {behind}, the furthest behind first. Right, and a higher number, is "
        "better; an interval that leaves zero out is coloured."
    )
    if len(rows) > MAX_SLICES:
        sentence += f" These are the first {MAX_SLICES} of {len(rows):,}; the evaluation has them all."
    return Section("slices", "Slices", [sentence, _figure(evaluation, rows), _table(rows[:MAX_SLICES])])


def _rows(evaluation: Evaluation, against: ModelName | None) -> Iterator[_Row]:
    for task in evaluation.tasks:
        whole = _candidate(evaluation.result(task.name), task)
        for result in evaluation.slices(task.name):
            value = _candidate(result, task).value
            to_whole = None
            if value is not None and whole.value is not None:
                to_whole = turned(Estimate(value - whole.value), task.metric).value
            behind = gain(result, task.metric, against) if against else Estimate(to_whole)
            yield _Row(task, result, behind, to_whole)


def _candidate(result: SliceResult, task: Task) -> Estimate:
    return result.metrics.get(task.metric, {}).get("candidate", Estimate(None))


def _table(rows: list[_Row]) -> Table:
    numeric = ("Ahead (+) or behind (−)", "This model", "Against the whole split", "Examples")
    return Table(
        "Slices by how far they fall behind",
        ("Slice", "Task", *numeric),
        [
            [
                Cell(slice_text(row.result.slice)),
                Cell(row.task.name, detail=METRICS[row.task.metric].label),
                gain_cell(row.behind),
                estimate_cell(_candidate(row.result, row.task)),
                Cell(signed(row.to_whole), row.to_whole),
                count_cell(row.result.counts.examples),
            ]
            for row in rows
        ],
        numeric=numeric,
        sortable=True,
        filter_by="Task",
    )


def _figure(evaluation: Evaluation, rows: list[_Row]) -> Figure:
    drawn = {}
    for task in evaluation.tasks:
        own = [row for row in rows if row.task == task and row.behind and row.behind.value is not None][:_IN_CHART]
        values = [
            {
                "name": slice_text(row.result.slice),
                "value": row.behind.value,
                "low": row.behind.low,
                "high": row.behind.high,
                "tone": tone_of(row.behind),
            }
            for row in own
            if row.behind
        ]
        if values:
            drawn[task.name] = charts.intervals(values, f"{METRICS[task.metric].label}, ahead (+) or behind (−)")
    return Figure(f"The {_IN_CHART} slices of a task that are furthest behind.", drawn, "Task")
