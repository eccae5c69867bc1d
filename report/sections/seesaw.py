"""The seesaw: the gain on one task against the gain on another, a point a model (PLE, fig. 5)."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from evaluation.metrics import metric_named
from evaluation.result import Estimate, Evaluation, ModelName, Task, gain, turned
from report import charts
from report.elements import Chart, Figure, Section
from report.material import Material
from report.sections.tasks import MODEL_LABELS

_CAPTION = (
    "Gains turned so that more is better, with their intervals; the axes cross at {origin}. In the shaded corners "
    "one task was lifted by sinking the other."
)


def section(material: Material) -> Section:
    """Draws a chart a pair of tasks, against the single-task model; against the blessed one where there is no such."""
    evaluation = material.evaluation
    origin: ModelName | None = None
    if evaluation is not None:
        origin = next((name for name in ("reference", "baseline") if evaluation.model(name)), None)
    if evaluation is None or origin is None:
        return Section("seesaw", "Seesaw", ["There is no other model to take a gain against."])
    if len(evaluation.tasks) < 2:
        return Section("seesaw", "Seesaw", ["There is one task only: nothing to trade."])
    gains = {
        MODEL_LABELS[model.name]: {task.name: _gain(evaluation, task, model.name, origin) for task in evaluation.tasks}
        for model in evaluation.models
        if model.name != origin
    }
    drawn = pairs(evaluation.tasks, gains)
    if not drawn:
        return Section("seesaw", "Seesaw", ["No two tasks have a gain on this data."])
    caption = _CAPTION.format(origin=f"the {MODEL_LABELS[origin]}")
    return Section("seesaw", "Seesaw", [Figure(caption, drawn, "Pair of tasks")])


def pairs(tasks: tuple[Task, ...], gains: Mapping[str, Mapping[str, Estimate | None]]) -> dict[str, Chart]:
    """Draws a chart a pair of tasks.

    Args:
      gains: each model's gain by task, by the name that the model is shown under.
    """
    drawn = {}
    for across, up in combinations(tasks, 2):
        points = []
        for model, by_task in gains.items():
            x, y = by_task.get(across.name), by_task.get(up.name)
            if x and y and x.value is not None and y.value is not None:
                points.append({"model": model, **_ends("x", x), **_ends("y", y)})
        if points:
            titles = [f"gain of {task.name} ({metric_named(task.metric).label})" for task in (across, up)]
            drawn[f"{across.name} × {up.name}"] = charts.seesaw(points, *titles)
    return drawn


def _ends(axis: str, estimate: Estimate) -> dict[str, Any]:
    return {axis: estimate.value, f"{axis}_low": estimate.low, f"{axis}_high": estimate.high}


def _gain(evaluation: Evaluation, task: Task, model: ModelName, origin: ModelName) -> Estimate | None:
    """Returns a model's gain; the candidate's has an interval, another model's is the difference of the two values."""
    result = evaluation.result(task.name)
    if model == "candidate":
        return gain(result, task.metric, origin)
    values = [result.metrics.get(task.metric, {}).get(name, Estimate(None)).value for name in (model, origin)]
    if values[0] is None or values[1] is None:
        return None
    return turned(Estimate(values[0] - values[1]), task.metric)
