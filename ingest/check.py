"""Looks at a sample of the logs through a spec: what the examples would be, and what is wrong, before anything is run.

It reads, parses and joins with ingest's own functions, so that what it shows is what a run would make.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.check_columns import column_samples, doubtful_values
from ingest.check_derived import derived_findings
from ingest.check_judging import judging_findings
from ingest.check_reading import clock_findings, reading_findings, time_findings, unripe_findings, weight_findings
from ingest.check_report import (
    CheckReport,
    Finding,
    InputCount,
    Severity,
    StatisticSample,
    TaskSample,
    UserSample,
)
from ingest.check_statistics import StatisticRows, rows_for_statistics, statistic_findings, statistic_samples
from ingest.clock import with_precision
from ingest.errors import IngestError
from ingest.examples import ExampleBuilder
from ingest.findings import format_time
from ingest.kinds import reader_of
from ingest.ripeness import mask_unripe, ripe_until, span_of, split_times
from ingest.rows import events_of
from ingest.sample import Sample, read_sample
from ingest.time_split import TimeCounts, first_time
from ingest.timeline import Timelines, join
from ingest.windows.rolling import DAY
from ingest.windows.window import days_between, files_to_read, shown_days
from schema.columns import example_columns
from schema.spec import RankingSpec

_TABLE_ROWS = 1_000_000
SOURCES = ("log", "users", "items")
# How many times the sample's rows statistics may read, for whole days of them.
_STATISTICS_ROWS = 10
_USERS, _EXAMPLES = 3, 3
_FEW_LABELS = 20


def check(
    spec: RankingSpec,
    logs: str,
    sample_rows: int = 100_000,
    now: datetime | None = None,
    window: str | None = None,
) -> CheckReport:
    """Reads at most `sample_rows` rows of the log, the same number of each file, and says what they would become.

    Problems are findings of the report, not exceptions.

    Args:
      logs: the folder that the spec's file patterns start from.
      now: the time after which a timestamp lies in the future; by default the present.
      window: the days to look at of logs in daily folders, such as `7d:2026-11-25`; by default all.
    """
    try:
        files = files_to_read(spec, logs, window)
    except IngestError as error:
        unusable = Finding("error", logs, str(error))
        nothing = {source: InputCount(0, 0, 0, {}) for source in SOURCES if getattr(spec, source) is not None}
        return CheckReport(spec, logs, {}, {}, True, None, (), example_columns(spec), (), (unusable,), inputs=nothing)
    declared, spec = spec, with_precision(spec, files)
    samples = {
        source: read_sample(spec, source, [file for file in files if file.source == source], limit)
        for source, limit in zip(SOURCES, (sample_rows, _TABLE_ROWS, _TABLE_ROWS), strict=True)
        if getattr(spec, source) is not None
    }
    log = samples["log"]
    findings = [finding for source, sample in samples.items() for finding in reading_findings(spec, source, sample)]
    findings += clock_findings(spec, log)
    if not window:
        findings += _day_findings(sorted({file.day for file in files if file.source == "log" and file.day}))
    rows = log.table()
    report = CheckReport(
        spec=declared,
        logs=logs,
        files={source: sample.files for source, sample in samples.items()},
        rows={source: sample.rows for source, sample in samples.items()},
        complete=all(sample.complete for sample in samples.values()),
        period=None,
        tasks=(),
        columns=example_columns(spec),
        users=(),
        findings=(),
        inputs={source: _input_count(sample) for source, sample in samples.items()},
    )
    if rows is None or rows.num_rows == 0:
        if not any(finding.severity == "error" for finding in findings):
            findings.append(Finding("error", "log", f"no row is left of the {log.rows:,} read"))
        return replace(report, findings=tuple(findings))
    joined = join(spec, rows)
    until = ripe_until(spec, span_of(joined))
    lines, unripe = mask_unripe(joined, until)
    tasks = tuple(_task_samples(spec, lines))
    findings += time_findings(spec, lines, log.complete, now or datetime.now(UTC), until)
    findings += unripe_findings(spec, lines, until)
    findings += weight_findings(spec, lines, rows)
    findings += _event_findings(spec, log, rows)
    findings += _label_findings(spec, tasks, lines, log.complete)
    findings += _feature_findings(spec, samples)
    findings += doubtful_values(spec, samples)
    findings += derived_findings(spec, samples, lines)
    findings += _table_findings(spec, lines, samples)
    findings += _sequence_findings(spec, lines)
    columns = column_samples(spec, samples, lines)
    findings += judging_findings(spec, lines, columns)
    skipped = _skipped(spec, lines, until)
    period = None
    if spec.log.timestamp.column:
        period = (format_time(spec, int(lines.time.min())), format_time(spec, int(lines.time.max())))
    report = replace(
        report,
        period=period,
        tasks=tasks,
        column_samples=columns,
        examples=len(lines.impressions) - skipped,
        unripe=unripe,
        distinct_users=len(lines.users),
        inputs={**report.inputs, "log": _input_count(log, skipped)},
    )
    statistics: tuple[StatisticSample, ...] = ()
    statistics_rows = ""
    if spec.statistics:
        counted_rows, statistics_rows = rows_for_statistics(spec, log, rows, files, _STATISTICS_ROWS * sample_rows)
        if counted_rows is not rows:
            joined = join(spec, counted_rows)
            rows, lines = counted_rows, mask_unripe(joined, ripe_until(spec, span_of(joined)))[0]
    tables = {source: sample.table() for source, sample in samples.items()}
    tried = StatisticRows.of(spec, rows, lines, tables)
    statistics = statistic_samples(spec, tried)
    findings += statistic_findings(spec, statistics, tried, daily=any(file.day for file in files))
    return replace(
        report,
        users=_user_samples(spec, tried),
        findings=tuple(findings),
        statistics=statistics,
        statistics_rows=statistics_rows,
    )


def _input_count(sample: Sample, skipped: int = 0) -> InputCount:
    reasons = Counter(row.kind for _, row in sample.bad)
    quarantined = reasons.total()
    unused = sample.unused.by_reason()
    reasons.update(unused)
    if skipped:
        reasons["before the share of split.skip"] = skipped
    return InputCount(sample.rows, quarantined, unused.total() + skipped, dict(reasons.most_common()))


def _skipped(spec: RankingSpec, lines: Timelines, until: int | None) -> int:
    """Returns how many impressions `split.skip` makes no examples of."""
    return first_time(spec.split, split_times(spec, TimeCounts.of(lines.time[lines.impressions]), until))[1]


def _day_findings(days: list[date]) -> Iterator[Finding]:
    if not days:
        return
    first, last = days[0], days[-1]
    all_days = f"{(last - first).days + 1}d:{last}"
    message = (
        f"{len(days):,} daily folders, {first} to {last}; a run takes a window of them, such as --window {all_days}"
    )
    yield Finding("info", "logs", message)
    if missing := [day for day in days_between(first, last) if day not in days]:
        message = f"no folder of {shown_days(missing)}: a window with a missing day is refused"
        yield Finding("warning", "logs", message)


def _event_findings(spec: RankingSpec, log: Sample, rows: pa.Table) -> Iterator[Finding]:
    if not spec.log.event:
        return
    counts = np.bincount(rows["event"].to_numpy(), minlength=len(events_of(spec)))
    unused = ", ".join(f"{name} ({count:,})" for name, count in log.unused.events.most_common(10))
    for event, count in zip(events_of(spec), counts, strict=True):
        if count == 0:
            occurring = [name for name, times in zip(events_of(spec), counts, strict=True) if times]
            others = f"; the log has {', '.join(occurring)}" + (f" and, not in the spec, {unused}" if unused else "")
            yield Finding("error" if log.complete else "warning", f"event {event!r}", f"never occurs{others}")
    if unused:
        yield Finding("info", "log.event", f"events that the spec doesn't use: {unused}")


def _task_samples(spec: RankingSpec, lines: Timelines) -> Iterator[TaskSample]:
    for task in spec.tasks:
        space, label = lines.spaces[task.name], lines.labels[task.name]
        yield TaskSample(task.name, task.is_regression, len(space), int(space.sum()), float(label[space].sum()))


def _label_findings(
    spec: RankingSpec, tasks: tuple[TaskSample, ...], lines: Timelines, complete: bool
) -> Iterator[Finding]:
    severity: Severity = "error" if complete else "warning"
    if len(lines.impressions) == 0:
        yield Finding("error", "log", f"no impression in {len(lines.time):,} rows")
        return
    for task in tasks:
        where, labels = f"task {task.name!r}", lines.labels[task.name][lines.spaces[task.name]]
        if task.in_space == 0:
            yield Finding(severity, where, f"none of {task.impressions:,} impressions is in its sample space")
        elif labels.min() == labels.max():
            yield Finding(severity, where, f"all {task.in_space:,} labels are {labels[0]:g}; there is nothing to learn")
        elif not task.is_regression and min(task.positive, task.in_space - task.positive) < _FEW_LABELS:
            rarer = int(min(task.positive, task.in_space - task.positive))
            yield Finding("warning", where, f"only {rarer} of {task.in_space:,} labels are of the rarer class")
    for name, (attributed, unattributed) in lines.attributed.items():
        total = attributed + unattributed
        if unattributed > 0.2 * total:
            message = (
                f"{unattributed:,} of {total:,} events label nothing: no {spec.log.impression} of the same user "
                f"and item is in the {spec.log.attribution_window:,} s before (log.attribution_window)"
            )
            yield Finding("warning", f"task {name!r}", message)


def _feature_findings(spec: RankingSpec, samples: dict[str, Sample]) -> Iterator[Finding]:
    for i, feature in enumerate(spec.features):
        table = samples[feature.source].table()
        if feature.derive or table is None or table.num_rows == 0:
            continue
        where, values = f"features[{i}] ({feature.name})", table[f"feature:{feature.name}"]
        missing = pc.sum(pc.is_null(values, nan_is_null=True)).as_py()
        if missing == len(values):
            message = f"column {feature.source_column!r} is missing in all {len(values):,} rows of {feature.source}"
            yield Finding("warning", where, message)
            continue
        if missing > 0.5 * len(values):
            yield Finding("warning", where, f"missing in {missing:,} of {len(values):,} rows of {feature.source}")
        reader = reader_of(feature)
        if len(values) > 1 and reader.is_constant(values.combine_chunks()):
            yield Finding("warning", where, "has the same value in every row that has one")
        for doubt in reader.doubts(feature, values.combine_chunks()):
            yield Finding("warning", where, doubt)


def _table_findings(spec: RankingSpec, lines: Timelines, samples: dict[str, Sample]) -> Iterator[Finding]:
    for source, keys in (("users", lines.users), ("items", lines.items)):
        if source not in samples or not samples[source].complete:
            continue
        table = samples[source].table()
        listed = pc.sum(pc.is_in(keys, value_set=table["key"].combine_chunks())).as_py() if table else 0
        absent = len(keys) - (listed or 0)
        if absent:
            severity: Severity = "error" if not listed else "warning" if absent > 0.1 * len(keys) else "info"
            message = (
                f"{absent:,} of {len(keys):,} {source} of the log are not in the table; their features are missing"
            )
            yield Finding(severity, f"{source}.key", message)


def _sequence_findings(spec: RankingSpec, lines: Timelines) -> Iterator[Finding]:
    for i, behaviour in enumerate(spec.behaviours):
        sequence = lines.sequences[behaviour.name]
        if len(lines.impressions) and not (sequence.stop > sequence.start).any():
            where = f"behaviours[{i}] ({behaviour.name})"
            yield Finding("warning", where, f"empty before each of {len(lines.impressions):,} impressions")


def _user_samples(spec: RankingSpec, log: StatisticRows) -> tuple[UserSample, ...]:
    """Picks three users who show much: labels of several kinds, several kinds of past, not too many impressions."""
    rows, lines, users, items = log.rows, log.lines, log.users, log.items
    if len(lines.impressions) == 0:
        return ()
    build = ExampleBuilder(spec, rows, lines, statistics=log.vectors)
    source = lines.source[lines.impressions]
    day = rows[DAY].to_numpy()[source] if DAY in rows.column_names else np.zeros(len(source), np.int32)
    user = lines.user[lines.impressions]
    size = len(lines.users)
    count = np.bincount(user, minlength=size)
    kinds = np.zeros(size)
    positive = np.zeros(len(user))
    for label in lines.labels.values():
        positive += label > 0
        kinds += np.bincount(user, label > 0, size) > 0
    for sequence in lines.sequences.values():
        kinds += np.bincount(user, sequence.stop > sequence.start, size) > 0
    chosen = np.lexsort((np.arange(size), np.abs(count - 10), -kinds))
    result = []
    for index in [index for index in chosen if count[index]][:_USERS]:
        which = np.flatnonzero(user == index)
        # Those with the most labels, the latest of equals; shown in time order.
        best = np.sort(which[np.argsort(positive[which], kind="stable")][-_EXAMPLES:])
        batches = (build.with_tables(users(int(day[i])), items(int(day[i])))(best[best == i]) for i in best)
        examples = [example for columns in batches for example in pa.table(columns).to_pylist()]
        result.append(UserSample(lines.users[int(index)].as_py(), len(which), tuple(examples)))
    return tuple(result)
