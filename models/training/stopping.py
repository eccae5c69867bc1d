"""What early stopping watches: the mean of the tasks' eval losses, or how far their own metrics are from perfect."""

from schema.modelling import Training
from schema.training_records import TaskMetrics

_OWN_METRICS = ("auc", "r2")


class DivergedError(ValueError):
    """A loss is not finite any more; the message says which and when."""


def watched_loss(training: Training, metrics: TaskMetrics, where: str) -> float:
    """Returns what the best epoch has the least of (`training.stop_by`).

    loss: the mean loss of the tasks. metrics: 1 - the mean of their own metrics, AUC of a binary task and explained
    variance of a regression; one that can't be told counts as 0.

    Raises:
      DivergedError: a loss is not finite; the message says of which task, and `where`.
    """
    loss = mean_loss(metrics, where)
    if training.stop_by == "loss":
        return loss
    shares = [values[name] or 0.0 for values in metrics.values() for name in _OWN_METRICS if name in values]
    return 1.0 - sum(shares) / len(shares)


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
