"""Calibration, ROC and precision-recall curves of the binary tasks, a line a model."""

from collections.abc import Callable, Iterable
from typing import Any

from evaluation.result import Curves
from report import charts
from report.elements import Beside, Figure, Section
from report.material import Material
from report.sections.tasks import MODEL_LABELS

_Rows = Callable[[Curves], Iterable[dict[str, Any]]]


def section(material: Material) -> Section:
    """Draws the curves on the whole split."""
    evaluation = material.evaluation
    if evaluation is None or not evaluation.curves:
        return Section("curves", "Curves", ["There are no curves: no binary task was evaluated."])
    curves = evaluation.curves
    return Section(
        "curves",
        "Curves",
        [
            Beside(
                [
                    Figure(
                        "Calibration: what was predicted against what happened, a point a bin, as large as "
                        "its examples are many. On the dashed line the two agree.",
                        _by_task(
                            curves,
                            _calibration,
                            "mean prediction",
                            "share of positives",
                            diagonal=True,
                            to_the_data=True,
                        ),
                        "Task",
                    ),
                    Figure(
                        "ROC: the share of positives found against the share of negatives taken for one.",
                        _by_task(curves, _roc, "false-positive rate", "true-positive rate", diagonal=True, unit=True),
                        "Task",
                    ),
                    Figure(
                        "Precision and recall, over all thresholds.",
                        _by_task(curves, _precision_recall, "recall", "precision", unit=True),
                        "Task",
                    ),
                ]
            )
        ],
    )


def _by_task(
    curves: tuple[Curves, ...], rows: _Rows, x: str, y: str, to_the_data: bool = False, **options: Any
) -> dict[str, Any]:
    """Draws a chart a task.

    Args:
      to_the_data: the diagonal goes as far as the data, and no further: rare labels have small predictions.
    """
    drawn = {}
    for task in dict.fromkeys(curve.task for curve in curves):
        points = [row for curve in curves if curve.task == task for row in rows(curve)]
        if points:
            reach = max(max(row["x"], row["y"]) for row in points) if to_the_data else 1.0
            drawn[task] = charts.lines(points, x, y, reach=reach, **options)
    return drawn


def _calibration(curve: Curves) -> Iterable[dict[str, Any]]:
    for point in curve.calibration:
        if point.examples:
            yield {"x": point.prediction, "y": point.label, "size": point.examples, "series": MODEL_LABELS[curve.model]}


def _roc(curve: Curves) -> Iterable[dict[str, Any]]:
    for false_positives, true_positives in curve.roc:
        yield {"x": false_positives, "y": true_positives, "series": MODEL_LABELS[curve.model]}


def _precision_recall(curve: Curves) -> Iterable[dict[str, Any]]:
    for recall, precision in curve.precision_recall:
        yield {"x": recall, "y": precision, "series": MODEL_LABELS[curve.model]}
