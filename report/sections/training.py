"""How the training went: each task's loss and AUC, or explained variance, by epoch."""

from collections.abc import Sequence

from report import charts
from report.elements import Beside, Block, Facts, Figure, Section
from report.figures import number
from report.material import Material
from schema.training_records import EpochRecord

_METRICS = {"loss": "Loss", "auc": "AUC", "r2": "Explained variance"}


def section(material: Material) -> Section:
    """Draws training curves, from the Trainer's `history.json`."""
    history = material.history
    if history is None or not history.epochs:
        return Section("training", "Training", ["There is no history of a training."])
    epochs, best = history.epochs, history.best_epoch
    facts = Facts(
        [
            ("Examples", f"{history.examples:,}"),
            ("Epochs", f"{len(epochs)}, the best was {best}"),
            ("Mean eval loss of the best", number(history.best_loss)),
            ("Examples a second", f"{sum(epoch.examples_per_second for epoch in epochs) / len(epochs):,.0f}"),
        ]
    )
    figures = []
    for metric, label in _METRICS.items():
        drawn = {
            task: charts.lines(rows, "epoch", label.lower() if metric == "loss" else label, steps=True, mark_x=best)
            for task in epochs[0].eval
            if (rows := _rows(epochs, task, metric))
        }
        if drawn:
            caption = f"{label} by epoch; the dashed line is the epoch whose weights were kept."
            figures.append(Figure(caption, drawn, "Task"))
    blocks: list[Block] = [facts, Beside(figures)]
    return Section("training", "Training", blocks)


def _rows(epochs: Sequence[EpochRecord], task: str, metric: str) -> list[dict[str, object]]:
    return [
        {"x": epoch.epoch, "y": value, "series": split}
        for split in ("train", "eval")
        for epoch in epochs
        if (value := getattr(epoch, split).get(task, {}).get(metric)) is not None
    ]
