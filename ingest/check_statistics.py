"""What statistics would be, and what is wrong with them: of rows in memory, by ingest's own functions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from ingest.check_report import Finding, StatisticSample
from ingest.examples import Lookup
from ingest.sample import Sample, read_last_days
from ingest.sources import SourceFile
from ingest.statistics.alone import alone, best, priors_of
from ingest.statistics.answers import Definition, RowSums, definitions, vectors_of
from ingest.statistics.impressions import MOST_GROWTH, grows, impressions_of
from ingest.statistics.keys import KeyColumns, Keys
from ingest.statistics.state import as_parquet, horizon_of, next_state
from ingest.statistics.vectors import Vectors
from ingest.time_split import TimeCounts, cut_times, first_time
from ingest.timeline import Timelines
from ingest.windows.rolling import lookup_by_day
from ingest.windows.window import day_of_number, earliest
from schema.parts import format_duration
from schema.spec import RankingSpec
from schema.statistics import shorter_delays, statistics_of

_DAY_S = 86_400
_GIGABYTE = 1e9
_YEAR_DAYS = 365.0
# Beyond them a key is mostly missing, or mostly new.
_MANY_MISSING, _MANY_NEW = 0.5, 0.9
# What is tried as `split.skip`.
_SKIPS = (0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class StatisticRows:
    """The rows that statistics are tried on: all of some users' and items', or of whole days.

    Attributes:
      vectors: of each row of `rows`, by column.
      users, items: the tables of a day.
    """

    rows: pa.Table
    lines: Timelines
    vectors: Mapping[str, Vectors]
    users: Callable[[int], Lookup]
    items: Callable[[int], Lookup]

    @classmethod
    def of(cls, spec: RankingSpec, rows: pa.Table, lines: Timelines, tables: Mapping[str, pa.Table | None]) -> Self:
        """Returns the rows with their vectors; `tables` are the typed rows of each source."""
        users, items = (lookup_by_day(spec, source, tables.get(source)) for source in ("users", "items"))
        return cls(rows, lines, vectors_of(spec, rows, users, items), users, items)


def rows_for_statistics(
    spec: RankingSpec, log: Sample, rows: pa.Table, files: Sequence[SourceFile], most: int
) -> tuple[pa.Table, str]:
    """Returns the rows to try statistics on, and which they are in words: of a sample everything is counted too low.

    Args:
      log, rows: the sample, and its rows.
      files: all that a run reads.
      most: how many rows may be read for whole days.
    """
    if log.complete:
        return rows, f"all {rows.num_rows:,} rows of the log"
    files = [file for file in files if file.source == "log"]
    day_rows, days = read_last_days(spec, files, most)
    if day_rows is None or day_rows.num_rows == 0:
        return rows, (
            f"the first rows of each file, {rows.num_rows:,} in all: a run counts more, and has seen more keys before; "
            "more --rows let whole days in"
        )
    all_days = len({file.day for file in files})
    if days == all_days:
        return day_rows, f"all {day_rows.num_rows:,} rows of the log"
    return day_rows, (
        f"the last {days} of {all_days} days, {day_rows.num_rows:,} rows: a run counts what was before them too; "
        "more --rows let more days in"
    )


def statistic_samples(spec: RankingSpec, log: StatisticRows) -> tuple[StatisticSample, ...]:
    """Returns what each statistic is on these rows; none where they hold no impression."""
    if len(log.lines.impressions) == 0:
        return ()
    keys, sums = KeyColumns(spec, log.rows, log.users, log.items), RowSums(spec, log.rows)
    return tuple(
        _sample(spec, definition, log, keys.of(definition.statistic.keys), sums) for definition in definitions(spec)
    )


def _sample(
    spec: RankingSpec, definition: Definition, log: StatisticRows, keys: Keys, sums: RowSums
) -> StatisticSample:
    statistic, lines = definition.statistic, log.lines
    source = lines.source[lines.impressions]
    vectors, code, time = log.vectors[statistic.column].take(source), keys.code[source], lines.time[lines.impressions]
    valid = code >= 0
    shown = impressions_of(spec, statistic, vectors)[valid]
    by_key = np.bincount(code[valid], minlength=1)
    later = time >= np.median(time)
    worth = alone(
        spec,
        statistic,
        vectors[later],
        {task: label[later] for task, label in lines.labels.items()},
        {task: space[later] for task, space in lines.spaces.items()},
        priors_of(lines.labels, lines.spaces),
    )
    state = _state_bytes(spec, definition, log, keys, sums)
    return StatisticSample(
        statistic=statistic,
        keys=int(np.count_nonzero(by_key)),
        missing=float(1 - valid.mean()),
        seen=float((shown > 0).mean()) if len(shown) else 0.0,
        impressions=float(np.median(shown)) if len(shown) else 0.0,
        hottest=float(by_key.max() / max(valid.sum(), 1)),
        alone=best(worth),
        state_bytes=state,
        state_in_a_year=_in_a_year(definition, state, code[valid], time[valid]),
    )


def _state_bytes(spec: RankingSpec, definition: Definition, log: StatisticRows, keys: Keys, sums: RowSums) -> int:
    """Returns the size of what a run would carry on to the day after the rows' last one."""
    time = log.rows["time"].to_numpy()
    tiles = definition.tiles(keys.code, time, sums.of(definition.sums))
    if not len(tiles):
        return 0
    day = int(time.max()) // (_DAY_S * definition.ticks_per_second) + 1
    state = next_state(definition, tiles, horizon_of(spec, definition, earliest(spec, day_of_number(day))))
    return len(as_parquet(state, keys.texts)) if len(state) else 0


def _in_a_year(definition: Definition, state: int, code: np.ndarray, time: np.ndarray) -> int:
    """Returns the state's size after a year of as many new keys a day as in the last quarter of the time."""
    if len(code) == 0:
        return 0
    first = np.full(int(code.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, code, time)
    first = first[first < np.iinfo(np.int64).max]
    span = (int(time.max()) - int(time.min())) / definition.ticks_per_second / _DAY_S
    # Of less than a day nothing can be told by the day.
    quarter = max(span, 1.0) / 4
    latest = int(time.max()) - quarter * _DAY_S * definition.ticks_per_second
    a_day = float((first > latest).sum()) / quarter if span >= 1 else 0.0
    expire = definition.statistic.expire
    days = _YEAR_DAYS if expire is None else max(min(_YEAR_DAYS, expire / _DAY_S) - span, 0.0)
    return int(state * (1 + a_day * days / len(first)))


def statistic_findings(
    spec: RankingSpec, samples: tuple[StatisticSample, ...], log: StatisticRows, daily: bool
) -> Iterator[Finding]:
    """Yields what is wrong with the statistics.

    Args:
      daily: the logs lie in daily folders, so that a run's window begins with what the days before it counted.
    """
    for line in shorter_delays(spec):
        yield Finding("warning", "statistics", line)
    yield from _freshness_findings(spec)
    for sample in samples:
        yield from _key_findings(sample)
        yield from _leaks(sample)
        yield from _state_findings(sample)
    if not daily:
        yield from _growth_findings(spec, log)


def _freshness_findings(spec: RankingSpec) -> Iterator[Finding]:
    """Yields a warning if there are no requests: an impression then sees what came of those before it in its list,
    which a server can't know yet.
    """
    fresh = [stat.name for stat in statistics_of(spec) if stat.by_user and stat.granularity < _DAY_S]
    if fresh and spec.log.request is None:
        message = (
            f"{', '.join(fresh)}: by user, and the log has no `request`, so that training sees a fresher past than "
            "serving will; declare `log.request`, or `granularity: 1d` for these"
        )
        yield Finding("warning", "statistics", message)


def _key_findings(sample: StatisticSample) -> Iterator[Finding]:
    where, keys = f"statistic {sample.statistic.name!r}", ", ".join(sample.statistic.keys)
    if sample.missing > _MANY_MISSING:
        yield Finding("warning", where, f"the key ({keys}) is missing in {sample.missing:.1%} of the impressions")
    if sample.keys and 1 - sample.seen > _MANY_NEW:
        message = f"{1 - sample.seen:.1%} of the impressions have a key ({keys}) that was never seen before"
        yield Finding("warning", where, message)
    if sample.keys == 1:
        yield Finding("warning", where, f"the key ({keys}) has the same value in every impression that has one")


def _leaks(sample: StatisticSample) -> Iterator[Finding]:
    statistic = sample.statistic
    delay = format_duration(statistic.delay) if statistic.delay else "0s"
    for task in sample.alone.values():
        if task.leaks:
            message = (
                f"its rate of {task.task} ({task.span}) alone has {'an' if task.is_binary else 'a'} {task.measure} of "
                f"{task.value:.4f} on the later half: it knows what it should predict. Is `delay` "
                f"({delay}) shorter than feedback takes, does the log repeat a row, or is the key "
                f"({', '.join(statistic.keys)}) known only with the feedback?"
            )
            yield Finding("error", f"statistic {statistic.name!r}", message)


def _state_findings(sample: StatisticSample) -> Iterator[Finding]:
    statistic = sample.statistic
    pair = len(statistic.keys) > 1 and statistic.expire is None
    if not pair and sample.state_in_a_year <= _GIGABYTE:
        return
    message = (
        f"{sample.keys:,} keys, whose state weighs {shown_bytes(sample.state_bytes)} and would weigh "
        f"{shown_bytes(sample.state_in_a_year)} in a year of as many new ones a day as at the end of these rows"
    )
    if statistic.expire is None:
        message += "; `expire` bounds it"
    yield Finding("warning" if sample.state_in_a_year > _GIGABYTE else "info", f"statistic {statistic.name!r}", message)


def _growth_findings(spec: RankingSpec, log: StatisticRows) -> Iterator[Finding]:
    """Yields a warning where counts since ever are small for everybody at first: trained on those, tested on others."""
    medians = lifetime_medians(spec, log, spec.split.skip)
    grown = [(name, train, test) for name, train, test in medians if grows(train, test)]
    if not grown:
        return
    enough = [
        skip
        for skip in _SKIPS
        if spec.split.skip < skip < 1 - spec.split.eval - spec.split.test
        and not any(grows(train, test) for _, train, test in lifetime_medians(spec, log, skip))
    ]
    advice = "`split: {skip: …}` lessens it, daily folders end it"
    if enough:
        advice = f"`split: {{skip: {enough[0]}}}` is enough"
    counts = ", ".join(f"{name} {shown_median(train)} and {shown_median(test)}" for name, train, test in grown)
    message = f"lifetime's median of impressions differs by more than {MOST_GROWTH:g}× between train and test: {counts}"
    yield Finding("warning", "statistics", f"{message}; {advice}")


def lifetime_medians(spec: RankingSpec, log: StatisticRows, skip: float) -> Iterator[tuple[str, float, float]]:
    """Yields each statistic's name, and the medians of its impressions since ever in the train and the test part."""
    lines = log.lines
    time = lines.time[lines.impressions]
    counts = TimeCounts.of(time)
    cuts, _ = cut_times(spec.split, counts)
    begin, _ = first_time(spec.split.model_copy(update={"skip": skip}), counts)
    train, test = (time >= begin) & (time < cuts[0]), time >= cuts[1]
    for statistic in statistics_of(spec):
        if not statistic.lifetime:
            continue
        vectors = log.vectors[statistic.column].take(lines.source[lines.impressions])
        shown = impressions_of(spec, statistic, vectors)
        medians = [float(np.median(values)) for mask in (train, test) if len(values := shown[mask & (shown >= 0)])]
        if len(medians) == 2:
            yield statistic.name, medians[0], medians[1]


def shown_median(value: float) -> str:
    """Writes a median of counts, which may lie between two, as `1,234` or `1,234.5`."""
    return f"{value:,.1f}".removesuffix(".0")


def shown_bytes(size: float) -> str:
    """Writes a size as `3.1 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size / 1e3:,.1f} kB"
