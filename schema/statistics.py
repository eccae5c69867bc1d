"""The section `statistics` of a ranking spec: what has been counted of a key so far, and the slots it fills.

A statistic sums the rows of the log by its keys: impressions, the tasks' labels, the rows in the tasks' sample spaces,
and measures. Each sum is told over spans: half-lives, windows, and since ever; after these come ages, if declared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from schema.condition import Condition
from schema.parts import Column, Duration, Frozen, Name, format_duration, nonempty

if TYPE_CHECKING:
    from schema.spec import RankingSpec, Task

# Keys that are no features.
USER, ITEM = "user", "item"
IMPRESSIONS = "impressions"
# The span that holds how long ago a sum was last added to.
AGE = "age"
DEFAULT_PRIOR_STRENGTH = 20.0
# Fixed point: the places after the point, in bits, of ratios, and of summed columns and labels of any size.
_RATIO_BITS, _SUM_BITS = 20, 10
_LABEL_BITS: dict[str, int] = {"binary": 0, "ratio": _RATIO_BITS, "unbounded": _SUM_BITS}

_Length = Annotated[Duration, Field(gt=0)]
_Lengths = Annotated[tuple[_Length, ...], Field(strict=False)]
_Names = Annotated[tuple[Name, ...], Field(strict=False), AfterValidator(nonempty)]


class Request(Frozen):
    """What tells the impressions of one request: a column, or that a user pauses for no longer than `gap`."""

    column: Column | None = None
    gap: _Length | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.column is None) == (self.gap is None):
            raise ValueError("expected exactly one of `column` or `gap`")
        return self


class Measure(Condition):
    """What is summed beside the tasks' labels: a condition on rows, or (`sum`) the values of a column."""

    name: Name
    sum: Column | None = None


def _as_keys(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _as_entry(value: Any) -> Any:
    return {"keys": value} if isinstance(value, str | list | tuple) else value


class StatisticBy(Frozen):
    """An entry of `by`: the keys, and what differs from the section's settings."""

    keys: Annotated[_Names, BeforeValidator(_as_keys)]
    name: Name | None = None
    delay: Duration | None = None
    granularity: _Length | None = None
    half_lives: _Lengths | None = None
    windows: _Lengths | None = None
    lifetime: bool | None = None
    of: _Names | None = None
    age: bool | None = None
    expire: _Length | None = None


class Statistics(Frozen):
    """The section: settings for all statistics, and in `by` an entry for each."""

    by: Annotated[
        tuple[Annotated[StatisticBy, BeforeValidator(_as_entry)], ...], Field(strict=False), AfterValidator(nonempty)
    ]
    # How long after its row feedback is known, and the store up to date.
    delay: Duration = 0
    half_lives: _Lengths = (86_400,)
    windows: _Lengths = ()
    lifetime: bool = True
    # Tasks; None is all of them.
    of: _Names | None = None
    measures: Annotated[tuple[Measure, ...], Field(strict=False)] = ()
    # How often the numbers change.
    granularity: _Length = 3_600
    # Impressions that the prior of a rate counts for, in Transform.
    prior_strength: Annotated[float, Field(gt=0)] = DEFAULT_PRIOR_STRENGTH
    age: bool = False
    # A key without rows for so long counts as never seen.
    expire: _Length | None = None


@dataclass(frozen=True)
class Statistic:
    """An entry of `by` with the section's settings where it has none; times are in seconds."""

    name: str
    keys: tuple[str, ...]
    delay: int
    granularity: int
    half_lives: tuple[int, ...]
    windows: tuple[int, ...]
    lifetime: bool
    of: tuple[str, ...]
    age: bool
    expire: int | None

    @property
    def column(self) -> str:
        """Returns the name of the example column."""
        return f"{self.name}_statistics"

    @property
    def by_user(self) -> bool:
        return USER in self.keys

    @property
    def spans(self) -> tuple[str, ...]:
        """Returns the names of what each sum is told over."""
        lifetime = ("lifetime",) if self.lifetime else ()
        windows = (f"window_{format_duration(length)}" for length in self.windows)
        return *(format_duration(length) for length in self.half_lives), *windows, *lifetime


@dataclass(frozen=True)
class Sum:
    """One thing that is summed: of rows that open an impression, of a task's labels, of a space, or of a measure.

    Values are integers, of which the last `bits` bits are behind the point.
    """

    name: str
    role: Literal["impressions", "label", "space", "measure"]
    condition: Condition | None = None
    bits: int = 0


@dataclass(frozen=True)
class Slot:
    """One number of a statistic's vector."""

    statistic: str
    sum: str
    # One of the statistic's `spans`, or `AGE`: seconds since the last row that added to the sum, -1 if none did.
    span: str

    @property
    def name(self) -> str:
        return f"{self.statistic}.{self.sum}.{self.span}"


def statistics_of(spec: RankingSpec) -> tuple[Statistic, ...]:
    """Returns the statistics that the spec declares, in their order."""
    return tuple(_resolved(spec, spec.statistics, entry) for entry in spec.statistics.by) if spec.statistics else ()


def statistic_of(spec: RankingSpec, column: str) -> Statistic:
    """Returns the statistic whose vector stands in the example column of this name."""
    (statistic,) = (statistic for statistic in statistics_of(spec) if statistic.column == column)
    return statistic


def _resolved(spec: RankingSpec, section: Statistics, entry: StatisticBy) -> Statistic:
    names = ("delay", "granularity", "half_lives", "windows", "lifetime", "of", "age", "expire")
    settings = {name: getattr(section if getattr(entry, name) is None else entry, name) for name in names}
    settings["of"] = settings["of"] or tuple(task.name for task in spec.tasks)
    return Statistic(name=entry.name or "_".join(entry.keys), keys=entry.keys, **settings)


def sums_of(spec: RankingSpec, statistic: Statistic) -> tuple[Sum, ...]:
    """Returns what the statistic sums: impressions, labels, the spaces that aren't among these, measures."""
    tasks = [task for task in spec.tasks if task.name in statistic.of]
    labels = [Sum(task.name, "label", task, _LABEL_BITS[task.task_kind]) for task in tasks]
    spaces: dict[str, Sum] = {}
    for task in tasks:
        if task.within is not None and denominator(spec, statistic, task) == _space_name(task.within):
            spaces.setdefault(_space_name(task.within), Sum(_space_name(task.within), "space", task.within))
    measures = spec.statistics.measures if spec.statistics else ()
    summed = [Sum(measure.name, "measure", measure, _SUM_BITS if measure.sum else 0) for measure in measures]
    return Sum(IMPRESSIONS, "impressions"), *labels, *spaces.values(), *summed


def all_sums(spec: RankingSpec) -> tuple[Sum, ...]:
    """Returns the sums of all statistics, each once."""
    sums = {sum_.name: sum_ for statistic in statistics_of(spec) for sum_ in sums_of(spec, statistic)}
    return tuple(sums.values())


def denominator(spec: RankingSpec, statistic: Statistic, task: Task) -> str:
    """Returns the name of the sum that the task's rate is taken of: the rows where `within` holds, else impressions.

    Feedback that is missing there counts as none. A space that another task predicts is that task's sum.
    """
    within = task.within
    if within is None or (within.event is not None and within.event == spec.log.impression):
        return IMPRESSIONS
    for other_task in spec.tasks:
        covers_all = other_task.within is None or spec.log.layout == "events"
        if (
            other_task.name in statistic.of
            and covers_all
            and not other_task.is_regression
            and other_task.meaning == within.meaning
        ):
            return other_task.name
    return _space_name(within)


def _space_name(condition: Condition) -> str:
    words = [condition.event or condition.column, *(condition.comparison or ())]
    # The text "1" is not the number 1.
    return "_".join(
        ["within", *(repr(word) if isinstance(word, str) and word.isdigit() else str(word) for word in words)]
    )


def slots(spec: RankingSpec, statistic: Statistic) -> tuple[Slot, ...]:
    """Returns what each number of the statistic's vector is: span by span all sums, then the ages."""
    spans = statistic.spans + ((AGE,) if statistic.age else ())
    return tuple(Slot(statistic.name, sum_.name, span) for span in spans for sum_ in sums_of(spec, statistic))


@dataclass(frozen=True)
class Rate:
    """A sum over a count, of which the model reads the share. `task` has the prior; None where a measure has none."""

    sum: Slot
    count: Slot
    task: Task | None
    is_binary: bool


def counts_of(spec: RankingSpec, statistic: Statistic) -> tuple[Slot, ...]:
    """Returns the slots that rates are taken of, span by span: impressions first, then spaces."""
    tasks = [task for task in spec.tasks if task.name in statistic.of]
    names = dict.fromkeys([IMPRESSIONS, *(denominator(spec, statistic, task) for task in tasks)])
    return tuple(Slot(statistic.name, name, span) for span in statistic.spans for name in names)


def rates_of(spec: RankingSpec, statistic: Statistic) -> tuple[Rate, ...]:
    """Returns the rates that the model reads, span by span: of the tasks in their spaces, of measures by impression."""
    measures = spec.statistics.measures if spec.statistics else ()
    rates = []
    for span in statistic.spans:
        for task in spec.tasks:
            if task.name in statistic.of:
                count = Slot(statistic.name, denominator(spec, statistic, task), span)
                rates.append(Rate(Slot(statistic.name, task.name, span), count, task, not task.is_regression))
        for measure in measures:
            count = Slot(statistic.name, IMPRESSIONS, span)
            rates.append(Rate(Slot(statistic.name, measure.name, span), count, None, measure.sum is None))
    return tuple(rates)


def smoothed_rate(total: Any, count: Any, prior: Any, strength: float) -> Any:
    """Returns the rate `(s + m p) / (n + m)` of a sum s over n rows, towards its prior p; arrays or tensors alike.

    Args:
      strength: m, how many rows the prior counts for.
    """
    return (total + strength * prior) / (count + strength)


def impressions_by_key(spec: RankingSpec) -> dict[str, tuple[Statistic, Slot]]:
    """Returns the statistics by the slice key of their impressions, `<name>.impressions`, each with their slot.

    It is that of all time, or of the longest half-life or window where the statistic has no lifetime.
    """
    return {
        f"{statistic.name}.{IMPRESSIONS}": (statistic, Slot(statistic.name, IMPRESSIONS, _longest_span(statistic)))
        for statistic in statistics_of(spec)
        if statistic.spans
    }


def _longest_span(statistic: Statistic) -> str:
    if statistic.lifetime:
        return statistic.spans[-1]
    lengths = (*statistic.half_lives, *statistic.windows)
    return statistic.spans[lengths.index(max(lengths))]


def ages_of(spec: RankingSpec, statistic: Statistic) -> tuple[Slot, ...]:
    """Returns the slots that hold ages."""
    return tuple(slot for slot in slots(spec, statistic) if slot.span == AGE)


def numbers_read(spec: RankingSpec, statistic: Statistic) -> int:
    """Returns how many numbers the model reads: the counts, rates and ages, and whether the key is missing."""
    return sum(len(slots_of(spec, statistic)) for slots_of in (counts_of, rates_of, ages_of)) + 1


def is_of_item(spec: RankingSpec, statistic: Statistic) -> bool:
    """Returns whether the statistic differs from candidate to candidate of one user."""
    of_items = {ITEM, *(feature.name for feature in spec.features_of("items"))}
    return not of_items.isdisjoint(statistic.keys)


def shorter_delays(spec: RankingSpec) -> Iterator[str]:
    """Yields a line for each statistic that knows feedback sooner than a behaviour on the same column does."""
    if spec.log.layout == "events":
        return
    for statistic in statistics_of(spec):
        columns = {sum_.condition.column for sum_ in sums_of(spec, statistic) if sum_.condition}
        for behaviour in spec.behaviours:
            if behaviour.column in columns and statistic.delay < behaviour.delay:
                yield (
                    f"statistic {statistic.name!r}: delay {format_duration(statistic.delay)} is shorter than the "
                    f"{format_duration(behaviour.delay)} of behaviour {behaviour.name!r} on the same column "
                    f"{behaviour.column!r}"
                )
