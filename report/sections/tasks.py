"""Each task's metrics on the whole split, a column a model."""

from evaluation import metrics
from evaluation.metrics import metric_named
from evaluation.result import Evaluation, ModelName, SliceResult, gain
from report.elements import Block, Cell, Group, Section, Table
from report.figures import count_cell, estimate_cell, gain_cell
from report.material import Material

# How a reader knows the models.
MODEL_LABELS: dict[ModelName, str] = {
    "candidate": "this model",
    "baseline": "blessed model",
    "reference": "single-task model",
}
_GAINS: dict[ModelName, str] = {"baseline": "gain over blessed", "reference": "gain over single-task"}


def section(material: Material) -> Section:
    """Shows tasks × models."""
    evaluation = material.evaluation
    if evaluation is None:
        return Section("tasks", "Tasks", ["There is no evaluation of the tasks."])
    blocks: list[Block] = [
        f"The whole split “{evaluation.split}”, each task in its sample space; in brackets the "
        f"{evaluation.confidence:.0%} interval over users. A gain is turned so that more is better.",
        _headlines(evaluation),
    ]
    if evaluation.model("reference") is None:
        blocks.append(
            "No single-task model was trained beside this one, so there is no gain of multi-task learning to show."
        )
    blocks.append(Group("All metrics", [_all_metrics(evaluation)]))
    return Section("tasks", "Tasks", blocks)


def _headlines(evaluation: Evaluation) -> Table:
    models, gains = _columns(evaluation)
    rows = []
    for task in evaluation.tasks:
        result = evaluation.result(task.name)
        counts = result.counts
        label = metric_named(task.metric).label
        positives = "" if counts.positives is None else f"{counts.positives:,} positive"
        rows.append(
            [
                Cell(task.name, detail=label),
                Cell(f"{counts.examples:,}", counts.examples, detail=positives),
                count_cell(counts.users),
                *_values(evaluation, result, task.metric),
            ]
        )
    numeric = ("Examples", "Users", *models, *gains)
    return Table("The metric that each task’s gate reads", ("Task", *numeric), rows, numeric=numeric)


def _all_metrics(evaluation: Evaluation) -> Table:
    models, gains = _columns(evaluation)
    rows = []
    for task in evaluation.tasks:
        result = evaluation.result(task.name)
        rows += [
            [Cell(task.name), Cell(metric.label), *_values(evaluation, result, metric.name)]
            for metric in metrics.METRICS
            if metric.name in result.metrics
        ]
    return Table(
        "Every metric on the whole split",
        ("Task", "Metric", *models, *gains),
        rows,
        numeric=(*models, *gains),
        sortable=True,
        filter_by="Task",
    )


def _columns(evaluation: Evaluation) -> tuple[list[str], list[str]]:
    names = [model.name for model in evaluation.models]
    return [MODEL_LABELS[name] for name in names], [_GAINS[name] for name in names if name in _GAINS]


def _values(evaluation: Evaluation, result: SliceResult, metric: str) -> list[Cell]:
    estimates = result.metrics.get(metric, {})
    names = [model.name for model in evaluation.models]
    # Calibration is best at 1: a difference of it is no gain.
    judged = metric_named(metric).higher_is_better is not None
    gains = [gain_cell(gain(result, metric, name) if judged else None) for name in names if name in _GAINS]
    return [*(estimate_cell(estimates.get(name)) for name in names), *gains]
