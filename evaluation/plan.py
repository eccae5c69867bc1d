"""What is evaluated: which tasks, which models and which of the tasks each of them has, which lists and slices."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from evaluation.metrics import metrics_of
from evaluation.metrics.metric import Metric
from evaluation.result import ModelName
from schema.columns import REQUEST_START, TIMESTAMP, example_columns, label_name, space_name
from schema.spec import RankingSpec
from schema.statistics import impressions_by_key, slots
from schema.tasks import ANY_NUMBER, Domain

_DAY = 86_400


@dataclass(frozen=True)
class PlannedTask:
    """A task: its name, kind, the columns of its labels and of its sample space, and what its outputs may be."""

    name: str
    regression: bool
    label: str
    space: str
    domain: Domain = ANY_NUMBER

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Returns the metrics of its kind; the first is the one that its gate reads."""
        return metrics_of("regression" if self.regression else "binary")


@dataclass(frozen=True)
class PlannedModel:
    """A model to score with: its SavedModel's folder, and the tasks that it is evaluated on."""

    name: ModelName
    path: str
    tasks: frozenset[str]


@dataclass(frozen=True)
class ListColumn:
    """What tells the lists of one user apart, each of which was ranked at once: `column // length`.

    Attributes:
      column: of integers.
      length: how many ticks are of one list; 1 where each number is one.
    """

    column: str
    length: int


def list_column(spec: RankingSpec) -> ListColumn:
    """Returns what tells a user's lists apart: the request where the log tells it, else the day in UTC."""
    if spec.log.request:
        return ListColumn(REQUEST_START, 1)
    return ListColumn(TIMESTAMP, _DAY * spec.log.timestamp.example_ticks_per_second)


@dataclass(frozen=True)
class SlicedImpressions:
    """Where a statistic's impressions stand in the examples: the vector's column, its width, and the slot."""

    column: str
    width: int
    slot: int


@dataclass(frozen=True)
class Plan:
    """What to evaluate.

    Attributes:
      models: begin with the candidate, which has every task.
      slices: the keys of each: features, and statistics' impressions.
      slice_columns: those features, and whether a row may have several values.
      lists: what the metrics by list go by.
      slice_impressions: of those keys that are a statistic's impressions, where they stand.
      weighted: whether the examples have weights, which their spaces' columns hold.
    """

    tasks: tuple[PlannedTask, ...]
    models: tuple[PlannedModel, ...]
    slices: tuple[tuple[str, ...], ...]
    slice_columns: Mapping[str, bool]
    lists: ListColumn
    slice_impressions: Mapping[str, SlicedImpressions] = field(default_factory=dict)
    weighted: bool = False

    def models_of(self, task: int) -> list[int]:
        """Returns the indices of the models that have the task."""
        return [m for m, model in enumerate(self.models) if self.tasks[task].name in model.tasks]


def make_plan(spec: RankingSpec, models: tuple[PlannedModel, ...]) -> Plan:
    """Returns the plan of the spec's tasks and slices for `models`, of which the first is the candidate."""
    tasks = tuple(
        PlannedTask(task.name, task.is_regression, label_name(task), space_name(task), task.domain)
        for task in spec.tasks
    )
    names = {name for keys in spec.slices for name in keys}
    columns = {column.name: column.ragged for column in example_columns(spec) if column.name in names}
    impressions = {}
    for key, (statistic, slot) in impressions_by_key(spec).items():
        if key in names:
            all_slots = slots(spec, statistic)
            impressions[key] = SlicedImpressions(statistic.column, len(all_slots), all_slots.index(slot))
    return Plan(tasks, models, spec.slices, columns, list_column(spec), impressions, spec.weight is not None)
