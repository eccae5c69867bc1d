"""The ranking spec: its types and its validation.

One YAML file says what the logs mean: how rows become examples, which features, behaviour sequences and tasks there
are, how the data is split and sliced, and what a model must reach to be blessed. Everything else is derived from it.

`load_spec` reads and validates a file; every value is frozen afterwards.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from schema.clock import Timestamp
from schema.condition import Condition, RowFilters
from schema.consistency import inconsistencies
from schema.derived import Derived
from schema.features import Feature
from schema.files import SourceFiles
from schema.modelling import AUTO_ROUTING, SINGLE_TASK, Model, Training
from schema.parts import Column, Duration, Frozen, Name, nonempty
from schema.statistics import Request, Statistics
from schema.tasks import Task
from schema.tuning import Tuning

Share = Annotated[float, Field(gt=0, lt=1)]


class _Layout(Frozen):
    layout: Literal["events", "impressions"]


class Log(SourceFiles, _Layout):
    """The interaction log. `events`: one event a row; `impressions`: one impression a row, its feedback in columns."""

    user: Column
    item: Column
    timestamp: Timestamp = Timestamp()
    event: Column | None = None
    impression: str | None = None
    attribution_window: Annotated[Duration, Field(gt=0)] | None = None
    # Daily folders: how far beyond its day's ends a row of the folder may lie.
    allowed_lateness: Duration = 3600
    # The share of unreadable rows above which a run stops.
    max_bad_rows: Annotated[float, Field(ge=0, le=1)] = 0.05
    # Which impressions were asked for together: they all see the statistics as of the first one.
    request: Request | None = None
    # Which of a user's rows of the same time comes first: the smaller item id, or the row that is first in its file.
    order: Literal["item", "file"] = "item"
    # The rows that are read are those of which all of these hold.
    where: RowFilters = ()
    # Whether impressions younger than `attribution_window` at the log's end are in no sample space.
    unripe: Literal["mask", "keep"] = "mask"
    # What becomes of a row that is equal to one before it in every column that the spec reads.
    duplicates: Literal["keep", "drop", "error"] = "keep"

    @model_validator(mode="after")
    def _layout_has_its_keys(self) -> Self:
        keys = {key: getattr(self, key) for key in ("event", "impression", "attribution_window")}
        for key, value in keys.items():
            if self.layout == "events" and value is None:
                raise ValueError(f"layout `events` needs `{key}`")
            if self.layout == "impressions" and value is not None:
                raise ValueError(f"`{key}` belongs to layout `events`, not to `impressions`")
        if self.layout == "impressions" and "unripe" in self.model_fields_set:
            raise ValueError("`unripe` belongs to layout `events`, not to `impressions`")
        return self


class Table(SourceFiles):
    """A table of users or items, one row a key. Later rows of the same key win."""

    key: Column
    where: RowFilters = ()


class Behaviour(Condition):
    """A typed sequence: the user's last `max_length` rows that meet the condition, strictly before the impression."""

    name: Name
    max_length: Annotated[int, Field(ge=1, le=10_000)] = 50
    # How long after its row's timestamp a behaviour is known (feedback columns are filled in after the impression).
    delay: Duration = 0


class Split(Frozen):
    """The last shares of the impressions by time, or shares of the users; equal times, or a user's, stay together.

    `skip`: the first share feeds sequences and statistics, and becomes no example.
    """

    by: Literal["time", "user"] = "time"
    eval: Share = 0.1
    test: Share = 0.1
    skip: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _leaves_a_train_split(self) -> Self:
        if self.eval + self.test >= 1:
            raise ValueError(f"eval + test must leave something to train on, got {self.eval} + {self.test}")
        if self.skip + self.eval + self.test >= 1:
            shares = f"{self.skip} + {self.eval} + {self.test}"
            raise ValueError(f"skip + eval + test must leave something to train on, got {shares}")
        return self


class ExampleWeight(Frozen):
    """The column of the log that says what an example counts for, in the loss and in the metrics; 1 where missing."""

    column: Column


class Drift(Frozen):
    """How far the newest impressions (the test split) may be from those trained on, by a column of the examples."""

    action: Literal["stop", "warn"] = "stop"
    # Of text the largest change of a value's share, of numbers the Jensen-Shannon divergence.
    limits: Annotated[dict[str, Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)]


# A feature, or a statistic's impressions (`item.impressions`).
SliceName = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)?$", description="a feature, or `<statistic>.impressions`")
]
# What names a slice: the values of these, taken together.
Slice = Annotated[tuple[SliceName, ...], Field(strict=False), AfterValidator(nonempty)]


class SliceGate(Frozen):
    """How far a task may fall behind the blessed model on each slice of `keys`, by default of all that there are."""

    max_drop: Annotated[float, Field(ge=0)]
    keys: Annotated[tuple[Slice, ...], Field(strict=False)] = ()
    if_unjudged: Literal["block", "pass"] = "pass"


class Gate(Frozen):
    """What a task must reach in evaluation: an absolute bound, and how it may stand to two other models.

    `max_drop` is how far it may fall behind the blessed model, `max_loss` how far behind the single-task reference, and
    `min_gain` how far it must be ahead of that. `if_unjudged` says what becomes of a model where the data can't tell;
    by default it blocks, but not for want of a judgement against the reference.
    """

    auc: Annotated[float, Field(ge=0, lt=1)] | None = None
    mse: Annotated[float, Field(gt=0)] | None = None
    max_drop: Annotated[float, Field(ge=0)] | None = None
    # Of the AUC within the lists that were ranked at once, by request or day.
    grouped_auc: Annotated[float, Field(ge=0, lt=1)] | None = None
    grouped_max_drop: Annotated[float, Field(ge=0)] | None = None
    # None: 0. Without a reference nothing is asked for; a declared one is then named as not compared.
    max_loss: Annotated[float, Field(ge=0)] | None = None
    min_gain: Annotated[float, Field(ge=0)] | None = None
    if_unjudged: Literal["block", "pass"] | None = None
    slices: SliceGate | None = None


class RankingSpec(Frozen):
    """The whole declaration."""

    name: Name
    log: Log
    users: Table | None = None
    items: Table | None = None
    features: Annotated[tuple[Feature, ...], Field(strict=False)] = ()
    derive: Annotated[tuple[Derived, ...], Field(strict=False)] = ()
    behaviours: Annotated[tuple[Behaviour, ...], Field(strict=False)] = ()
    tasks: Annotated[tuple[Task, ...], Field(strict=False), AfterValidator(nonempty)]
    weight: ExampleWeight | None = None
    statistics: Statistics | None = None
    split: Split = Split()
    slices: Annotated[tuple[Slice, ...], Field(strict=False)] = ()
    gates: dict[str, Gate] = {}  # noqa: RUF012 (pydantic copies it)
    drift: Drift | None = None
    model: Model = Model()
    training: Training = Training()
    tuning: Tuning | None = None

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        problems = list(inconsistencies(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def features_of(self, source: str) -> tuple[Feature, ...]:
        return tuple(feature for feature in self.features if feature.source == source)

    @property
    def chooses_networks(self) -> bool:
        """Returns whether each task is served by the network that does best for it: with `auto`, and several tasks.

        A Tuner that chooses the routing chooses among the others.
        """
        return self.model.routing == AUTO_ROUTING and len(self.tasks) > 1 and not self._tunes_routing

    @property
    def trains_reference(self) -> bool:
        """Returns whether a single-task ranker is trained beside the ranker: not where that is one itself."""
        shares = self.model.routing != SINGLE_TASK or self._tunes_routing
        return self.chooses_networks or (self.training.reference and shares)

    @property
    def _tunes_routing(self) -> bool:
        return bool(self.tuning and self.tuning.routing)

    @property
    def task_experts(self) -> tuple[int, ...]:
        """Returns how many experts of its own each task has in each level, in the order of the tasks."""
        experts = self.model.task_experts
        if isinstance(experts, int):
            return (experts,) * len(self.tasks)
        return tuple(experts[task.name] for task in self.tasks) if isinstance(experts, dict) else experts

    @property
    def dtrn_behaviours(self) -> tuple[str, ...]:
        """Returns the behaviours that the DTRN bottom reads by attention."""
        return self.model.dtrn.behaviours or tuple(behaviour.name for behaviour in self.behaviours)

    @property
    def din_behaviours(self) -> tuple[str, ...]:
        """Returns the behaviours that the DIN bottom compares with the candidate."""
        return self.model.din.behaviours or tuple(behaviour.name for behaviour in self.behaviours)

    def with_training(self, **settings: Any) -> Self:
        """Returns the spec with these fields of `model` and `training`; what is None stays.

        A setting that is given is not tuned.

        Raises:
          TypeError: neither section has such a field.
        """
        changes = {name: value for name, value in settings.items() if value is not None}
        model = {name: value for name, value in changes.items() if name in Model.model_fields}
        training = {name: value for name, value in changes.items() if name in Training.model_fields}
        if unknown := settings.keys() - Model.model_fields.keys() - Training.model_fields.keys():
            raise TypeError(f"expected fields of `model` and `training`, got {', '.join(sorted(unknown))}")
        return self.model_copy(
            update={
                "model": self.model.model_copy(update=model),
                "training": self.training.model_copy(update=training),
                "tuning": self.tuning.without(changes) if self.tuning else None,
            }
        )

    def tuned(self, hyperparameters: Mapping[str, Any]) -> Self:
        """Returns the spec with what tuning chose, and nothing left to tune; what the spec doesn't tune stays."""
        chosen = self.tuning.chosen(hyperparameters) if self.tuning else {}
        recipe = {name: chosen.pop(name) for name in [*chosen] if name in Training.model_fields}
        if self.training.ranking_loss and (weight := chosen.pop("ranking_loss_weight", None)):
            recipe["ranking_loss"] = self.training.ranking_loss.model_copy(update={"weight": weight})
        model, training = self.model.model_copy(update=chosen), self.training.model_copy(update=recipe)
        return self.model_copy(update={"model": model, "training": training, "tuning": None})

    @property
    def ranking_weights(self) -> tuple[float, ...]:
        """Returns what the ranking loss of each task counts for, in the order of the tasks; 0 where it has none."""
        loss = self.training.ranking_loss
        return tuple(0.0 if loss is None or task.is_regression else loss.weight_of(task.name) for task in self.tasks)

    @property
    def orders_requests(self) -> bool:
        """Returns whether a ranking loss orders within requests, and not within all examples of a user."""
        loss = self.training.ranking_loss
        return loss is not None and loss.within != "user" and self.log.request is not None

    def to_json(self) -> str:
        """Returns the spec as one JSON line, which `from_json` reads back: a component's execution property."""
        return self.model_dump_json(exclude_defaults=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls.model_validate_json(text)
