"""What early stopping watches: the mean of the tasks' eval losses, or how far their own metrics are from perfect."""

import math
from collections.abc import Mapping

from models.tasks import LabelSummary
from schema.modelling import Training
from schema.training_records import TaskMetrics

_OWN_METRICS = ("auc", "r2")


class DivergedError(ValueError):
    """A loss is not finite any more; the message says which and when."""


def watched_loss(
    training: Training, metrics: TaskMetrics, where: str, labels: Mapping[str, LabelSummary] | None = None
) -> float:
    """Returns what the best epoch has the least of (`training.stop_by`).

    loss: the mean loss of the tasks. metrics: 1 - the mean of their own metrics, AUC of a binary task and explained
    variance of a regression; one that can't be told counts as 0. A task counts in proportion to how precisely its
    metric is known, the inverse of its standard error: of an AUC as `sqrt(P N / (P + N))`, P and N the positives
    and negatives, so that the noise of a rare label doesn't choose the epoch for all.

    Args:
      labels: of the train split, by task, which tell P and N up to a factor; without them all tasks count the same.

    Raises:
      DivergedError: a loss is not finite; the message says of which task, and `where`.
    """
    loss = mean_loss(metrics, where)
    if training.stop_by == "loss":
        return loss
    shares = {task: values[name] or 0.0 for task, values in metrics.items() for name in _OWN_METRICS if name in values}
    precision = {task: _precision(metrics[task], labels[task]) if labels else 1.0 for task in shares}
    return 1.0 - sum(precision[task] * shares[task] for task in shares) / sum(precision.values())


def _precision(metrics: Mapping[str, float | None], labels: LabelSummary) -> float:
    """Returns what is in proportion to 1 / the standard error of a task's metric."""
    share = labels.mean * (1.0 - labels.mean) if "auc" in metrics else _MOST_BALANCED
    return math.sqrt(labels.count * share)


# `p (1 - p)` of as many positives as negatives.
_MOST_BALANCED = 0.25


def mean_loss(metrics: TaskMetrics, where: str) -> float:
    """Returns the mean loss of the tasks.

    Raises:
      DivergedError: a loss is not finite; the message says of which task, and `where`.
    """
    losses: list[float] = []
    for task, values in metrics.items():
        loss = values["loss"]
        if loss is None:
            raise DivergedError(f"{where}: the loss of {task!r} is not finite; try a lower training.learning_rate")
        losses.append(loss)
    return sum(losses) / len(losses)
