"""The kinds of tasks, a class each, and the loss and metrics of one task.

A new kind of task is a class here and a line in `TASK_KINDS`; what its labels are is said by `schema.tasks`.
"""

from models.tasks import binary, ratio, unbounded
from models.tasks.base import LabelSummary, TaskKind
from schema import tasks as declared
from schema.spec import Training
from schema.tasks import Task

TASK_KINDS: dict[declared.TaskKind, type[TaskKind]] = {
    "binary": binary.Binary,
    "ratio": ratio.Ratio,
    "unbounded": unbounded.Unbounded,
}


def kind_of(task: Task, training: Training = Training(), deviation: float = 1.0) -> TaskKind:  # noqa: B008 (frozen)
    """Returns what training and serving make of the task.

    Args:
      deviation: what `TaskKind.deviation` said of the train labels.
    """
    return TASK_KINDS[task.task_kind](task, training, deviation)


__all__ = ["TASK_KINDS", "LabelSummary", "TaskKind", "kind_of"]
