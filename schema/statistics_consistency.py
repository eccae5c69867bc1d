"""What the section `statistics` must be to the rest of a ranking spec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from schema.parts import format_duration
from schema.statistics import IMPRESSIONS, ITEM, USER, Statistic, StatisticBy, statistics_of, sums_of

if TYPE_CHECKING:
    from schema.spec import RankingSpec

_LEAST_GRANULARITY = 60
_MOST_TILES = 2_000


def statistics_problems(spec: RankingSpec) -> Iterator[str]:
    """Yields a line for each thing that doesn't fit: where in the spec, what was given, what was expected."""
    if spec.statistics is None:
        return
    yield from _measure_problems(spec)
    yield from _task_problems(spec, "statistics.of", spec.statistics.of or ())
    first: dict[str, int] = {}
    for i, (entry, statistic) in enumerate(zip(spec.statistics.by, statistics_of(spec), strict=True)):
        where = f"statistics.by[{i}] ({statistic.name})"
        if statistic.name in first:
            yield f"{where}: the name {statistic.name!r} is statistics.by[{first[statistic.name]}]'s; give it a `name`"
        first.setdefault(statistic.name, i)
        yield from _key_problems(spec, where, entry)
        yield from _task_problems(spec, f"{where}.of", entry.of or ())
        yield from _span_problems(where, statistic)
        if not any(line.startswith(f"{where}.of") for line in _task_problems(spec, f"{where}.of", statistic.of)):
            yield from _sum_problems(spec, where, statistic)


def _key_problems(spec: RankingSpec, where: str, entry: StatisticBy) -> Iterator[str]:
    features = {feature.name: feature for feature in spec.features}
    usable = [USER, ITEM, *(feature.name for feature in spec.features if feature.is_text and not feature.traits.ragged)]
    predicted = {task.ratio.numerator if task.ratio else task.column: task.name for task in spec.tasks}
    for j, key in enumerate(entry.keys):
        path, feature = f"{where}.keys[{j}]", features.get(key)
        if key in entry.keys[:j]:
            yield f"{path}: got {key!r} twice"
        if key in (USER, ITEM):
            if feature:
                yield f"{path}: got {key!r}, the id of the log, but a feature has that name too; rename the feature"
        elif feature is None:
            yield f"{path}: got {key!r}, expected one of {', '.join(usable)}"
        elif feature.traits.ragged:
            yield f"{path}: got {key!r}, which is multi-valued; expected one value a row: {', '.join(usable)}"
        elif not feature.is_text:
            yield f"{path}: got {key!r}, which is {feature.traits.noun}; expected one of {', '.join(usable)}"
        elif feature.source == "log" and not feature.derive and feature.source_column in predicted:
            yield (
                f"{path}: got {key!r}, whose column task {predicted[feature.source_column]!r} predicts; expected what "
                "is known when the impression happens"
            )


def _span_problems(where: str, statistic: Statistic) -> Iterator[str]:
    grain = statistic.granularity
    shown = format_duration(grain)
    if grain < _LEAST_GRANULARITY:
        yield f"{where}.granularity: got {shown}, expected at least 1m"
    if not statistic.spans:
        yield f"{where}: expected a span, got no `half_lives`, no `windows` and `lifetime: false`"
    for name in ("half_lives", "windows"):
        lengths = getattr(statistic, name)
        for j, length in enumerate(lengths):
            path, got = f"{where}.{name}[{j}]", format_duration(length)
            if length in lengths[:j]:
                yield f"{path}: got {got} twice"
            if length < grain:
                yield f"{path}: got {got}, which is shorter than the granularity {shown}; expected at least that"
            elif name == "windows":
                yield from _tile_problems(path, length, grain)
                if length > _MOST_TILES * grain:
                    yield (
                        f"{path}: got {got}, {length // grain:,} times the granularity {shown}, all of which would be "
                        f"kept; expected at most {_MOST_TILES:,} times, or a half-life"
                    )
    if statistic.expire is not None:
        yield from _tile_problems(f"{where}.expire", statistic.expire, grain)


def _tile_problems(path: str, length: int, grain: int) -> Iterator[str]:
    if length % grain:
        yield f"{path}: got {format_duration(length)}, expected a multiple of the granularity {format_duration(grain)}"


def _task_problems(spec: RankingSpec, path: str, names: Sequence[str]) -> Iterator[str]:
    tasks = [task.name for task in spec.tasks]
    for j, name in enumerate(names):
        if name not in tasks:
            yield f"{path}[{j}]: got {name!r}, no such task, expected one of {', '.join(tasks)}"
        if name in names[:j]:
            yield f"{path}[{j}]: got {name!r} twice"


def _measure_problems(spec: RankingSpec) -> Iterator[str]:
    for i, measure in enumerate(spec.statistics.measures if spec.statistics else ()):
        where = f"statistics.measures[{i}] ({measure.name})"
        if measure.event and spec.log.layout == "impressions":
            yield f"{where}: got `event`, which needs layout `events`; in `impressions` feedback is a `column`"
        if not measure.event and spec.log.layout == "events":
            key = "sum" if measure.sum else "column"
            yield f"{where}: got `{key}`, which needs layout `impressions`; in `events` feedback is an `event`"


def _sum_problems(spec: RankingSpec, where: str, statistic: Statistic) -> Iterator[str]:
    names = [sum_.name for sum_ in sums_of(spec, statistic)]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        whose = "what is always counted" if name == IMPRESSIONS else "twice among tasks and measures"
        yield f"{where}: the sum {name!r} would be there {whose}; rename the task or the measure"
