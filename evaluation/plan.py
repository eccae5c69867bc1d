"""What is evaluated: which tasks, which models and which of the tasks each of them has, which slices."""

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.metrics import metrics_of
from evaluation.metrics.metric import Metric
from evaluation.result import ModelName
from schema.columns import example_columns, label_name, space_name
from schema.spec import RankingSpec


@dataclass(frozen=True)
class PlannedTask:
    """A task: its name, kind, and the columns of its labels and of its sample space."""

    name: str
    regression: bool
    label: str
    space: str

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of its kind; the first is the one that its gate reads."""
        return metrics_of("regression" if self.regression else "binary")


@dataclass(frozen=True)
class PlannedModel:
    """A model to score with: its SavedModel's folder, and the tasks that it is evaluated on."""

    name: ModelName
    path: str
    tasks: frozenset[str]


@dataclass(frozen=True)
class Plan:
    """What to evaluate.

    Attributes:
      models: begin with the candidate, which has every task.
      slices: the features of each.
      slice_columns: those features, and whether a row may have several values.
    """

    tasks: tuple[PlannedTask, ...]
    models: tuple[PlannedModel, ...]
    slices: tuple[tuple[str, ...], ...]
    slice_columns: Mapping[str, bool]

    def models_of(self, task: int) -> list[int]:
        """Returns the indices of the models that have the task."""
        return [m for m, model in enumerate(self.models) if self.tasks[task].name in model.tasks]


def make_plan(spec: RankingSpec, models: tuple[PlannedModel, ...]) -> Plan:
    """Returns the plan of the spec's tasks and slices for `models`, of which the first is the candidate."""
    tasks = tuple(PlannedTask(task.name, task.is_regression, label_name(task), space_name(task)) for task in spec.tasks)
    features = {name for keys in spec.slices for name in keys}
    columns = {column.name: column.ragged for column in example_columns(spec) if column.name in features}
    return Plan(tasks, models, spec.slices, columns)
