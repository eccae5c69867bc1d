"""Where the model falls behind: every task on every slice, the worst first."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from evaluation.metrics import metric_named
from evaluation.result import (
    Estimate,
    Evaluation,
    ModelName,
    SliceResult,
    Task,
    gain,
    slice_text,
    turned,
)
from report import charts
from report.elements import Block, Cell, Chart, Figure, Section, Table
from report.figures import count_cell, estimate_cell, gain_cell, signed, tone_of
from report.material import Material

# A page with more rows than this helps nobody; the evaluation itself has them all.
MAX_SLICES = 300
_IN_CHART = 15
_AGAINST: dict[ModelName | None, str] = {
    "baseline": "the blessed model on the same slice",
    "reference": "the single-task model on the same slice",
    None: "its own value on the whole split, with the interval of the slice’s value (there is no other model)",
}


@dataclass(frozen=True)
class _Row:
    """A task on a slice: how far ahead of what it is compared with, and of the task's value on the whole split."""

    task: Task
    result: SliceResult
    value: Estimate
    ahead: Estimate | None
    of_whole: Estimate

    @property
    def order(self) -> tuple[bool, float]:
        """Returns a key that sorts the furthest behind first, and what has no interval or can't be compared last."""
        value = self.ahead.value if self.ahead else None
        return self.value.low is None or value is None, math.inf if value is None else value


def section(material: Material) -> Section:
    """Shows the slices, sorted by how far they fall behind."""
    evaluation = material.evaluation
    if evaluation is None or not any(result.slice for result in evaluation.results):
        why = "There is no evaluation." if evaluation is None else "The spec names no slices, or the split has none."
        return Section("slices", "Slices", [why])
    against: ModelName | None = next((n for n in ("baseline", "reference") if evaluation.model(n)), None)
    rows = sorted(_rows(evaluation, against), key=lambda row: row.order)
    sentence = (
        f"How each task does on each slice against {_AGAINST[against]}; the furthest behind stand first, those too "
        "small to give an interval last. More is better; a value is coloured where its interval leaves zero out."
    )
    if len(rows) > MAX_SLICES:
        sentence += f" These are the first {MAX_SLICES} of {len(rows):,}; the evaluation has them all."
    blocks: list[Block] = [sentence]
    if drawn := _charts(evaluation, rows):
        blocks.append(Figure(f"The slices of a task that are furthest behind, {_IN_CHART} at most.", drawn, "Task"))
    return Section("slices", "Slices", [*blocks, _table(rows[:MAX_SLICES], against)])


def _rows(evaluation: Evaluation, against: ModelName | None) -> Iterator[_Row]:
    for task in evaluation.tasks:
        overall = _candidate(evaluation.result(task.name), task).value
        for result in evaluation.slices(task.name):
            value = _candidate(result, task)
            # The whole split is taken as known: it is far more certain than a slice of it.
            of_whole = turned(
                Estimate(*(_less(end, overall) for end in (value.value, value.low, value.high))), task.metric
            )
            ahead = gain(result, task.metric, against) if against else of_whole
            yield _Row(task, result, value, ahead, of_whole)


def _less(value: float | None, overall: float | None) -> float | None:
    return None if value is None or overall is None else value - overall


def _candidate(result: SliceResult, task: Task) -> Estimate:
    return result.metrics.get(task.metric, {}).get("candidate", Estimate(None))


def _table(rows: list[_Row], against: ModelName | None) -> Table:
    numeric = ["Ahead (+) or behind (−)", "This model", "Examples"]
    if against:
        numeric.insert(2, "Against the whole split")
    cells = [
        [
            Cell(slice_text(row.result.slice)),
            Cell(row.task.name, detail=metric_named(row.task.metric).label),
            gain_cell(row.ahead),
            estimate_cell(row.value),
            *([Cell(signed(row.of_whole.value), row.of_whole.value)] if against else []),
            count_cell(row.result.counts.examples),
        ]
        for row in rows
    ]
    return Table(
        "Slices by how far they fall behind",
        ("Slice", "Task", *numeric),
        cells,
        numeric=numeric,
        sortable=True,
        filter_by="Task",
    )


def _charts(evaluation: Evaluation, rows: list[_Row]) -> dict[str, Chart]:
    drawn = {}
    for task in evaluation.tasks:
        values = [
            {
                "name": slice_text(row.result.slice),
                "value": row.ahead.value,
                "low": row.ahead.low,
                "high": row.ahead.high,
                "tone": tone_of(row.ahead),
            }
            for row in rows
            if row.task == task and row.ahead and row.ahead.low is not None
        ]
        if values:
            title = f"{metric_named(task.metric).label}, ahead (+) or behind (−)"
            drawn[task.name] = charts.intervals(values[:_IN_CHART], title)
    return drawn
