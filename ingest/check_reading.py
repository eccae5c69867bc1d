"""What reading a sample tells: rows that can't be used, columns that files lack, a clock that doesn't fit."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pyarrow as pa

from ingest.check_report import Finding
from ingest.duplicates import refused
from ingest.findings import format_time
from ingest.ripeness import split_times
from ingest.sample import Sample
from ingest.time_split import SPLITS, TimeCounts, cut_times, split_keys
from ingest.timeline import Timelines
from schema.parts import format_duration
from schema.spec import RankingSpec

_PROBLEMS = 3
# Beyond this share of the impressions it is worth a warning that they are unripe.
_MANY_UNRIPE = 0.2


def reading_findings(spec: RankingSpec, source: str, sample: Sample) -> Iterator[Finding]:
    """Yields what was wrong with the files and the rows of a source, and how many of them were looked at."""
    if not sample.complete:
        share = f"the first {sample.rows:,} rows, about {sample.share:.1%} of its bytes"
        yield Finding("info", source, f"looked at a sample: {share}, as many of each file; counts are of these rows")
    for problem in sample.problems[:_PROBLEMS]:
        yield Finding("error", source, problem)
    if len(sample.problems) > _PROBLEMS:
        yield Finding("error", source, f"{len(sample.problems) - _PROBLEMS:,} more files can't be read")
    if sample.equal_rows and spec.log.duplicates == "error":
        yield Finding("error", source, refused(len(sample.equal_rows), sample.equal_rows[0]))
    kinds = Counter(row.kind for _, row in sample.bad)
    bad_share = len(sample.bad) / max(sample.rows, 1)
    for reason, count in kinds.most_common(5):
        file, first = next((file, row) for file, row in sample.bad if row.kind == reason)
        yield Finding(
            "error" if bad_share > spec.log.max_bad_rows else "warning",
            source,
            f"{count:,} of {sample.rows:,} rows ({count / sample.rows:.1%}) would be quarantined: {reason}. "
            f"The first: {file} row {first.row}: {first.reason}",
        )
    if any(reason.endswith("is not UTF-8") or reason == "not UTF-8" for reason in kinds):
        yield Finding(
            "warning",
            f"{source}.encoding",
            "some rows are not UTF-8; if the files are of another encoding, declare it, such as `encoding: latin-1`",
        )
    for where, count in sample.rounded.items():
        yield Finding(
            "warning",
            where,
            f"{count:,} of {sample.rows:,} ids are floats beyond 2^53, which have lost their last digits: several ids "
            "may have become one. Write the column as integers or text",
        )
    for column, files in sample.absent.somewhere.items():
        where = f"{files:,} of {len(sample.absent.files):,} files have no column {column!r}"
        yield Finding("warning", source, f"{where}; it is missing in all their rows")


def clock_findings(spec: RankingSpec, log: Sample) -> Iterator[Finding]:
    """Yields what is wrong with the clock that the spec declares, if the log's times don't fit it."""
    if spec.log.timestamp.column is None:
        yield Finding(
            "info", "log.timestamp", "the log has no times: it is split by user, without sequences and statistics"
        )
        return
    unit, tried = spec.log.timestamp.unit, log.clock_tried
    near_zero = log.clock["near zero"]
    units = {name: count for name, count in log.clock.items() if name != "near zero"}
    best, fits = max(units.items(), key=lambda item: item[1], default=(unit, 0))
    if spec.log.timestamp.format:
        return
    if tried and log.clock[unit] < 0.5 * tried and fits <= 0.9 * tried and near_zero > 0.9 * tried:
        yield Finding(
            "error",
            "log.timestamp.origin",
            f"{near_zero:,} of {tried:,} times count from a start that isn't 1970: declare it, such as "
            "`origin: 2024-01-01` (any day will do where the true one isn't known)",
        )
    if tried and log.clock[unit] < 0.5 * tried and fits > 0.9 * tried:
        yield Finding(
            "error",
            "log.timestamp.unit",
            f"got `{unit}`, in which {log.clock[unit]:,} of {tried:,} times lie between 1990 and 2100; "
            f"expected `{best}`, in which {fits:,} do",
        )


def time_findings(
    spec: RankingSpec, lines: Timelines, complete: bool, now: datetime, until: int | None
) -> Iterator[Finding]:
    """Yields what is wrong with the times, and splits that would be empty; impressions after `until` are unripe."""
    where = "log.timestamp"
    times = lines.time[lines.impressions]
    future = int((lines.time > int(now.timestamp() * spec.log.timestamp.ticks_per_second)).sum())
    if future:
        latest = format_time(spec, int(lines.time.max()))
        yield Finding("warning", where, f"{future:,} of {len(lines.time):,} rows lie in the future, up to {latest}")
    if len(times) == 0:
        return
    if times.min() == times.max() and spec.log.timestamp.column:
        message = (
            f"all {len(times):,} impressions have the same time; a split by time and sequences need different ones"
        )
        yield Finding("error" if complete else "warning", where, message)
    elif complete:
        keys = split_keys(spec.split, lines.users, lines.user[lines.impressions], times)
        _, counts = cut_times(spec.split, split_times(spec, TimeCounts.of(keys), until))
        for name in SPLITS:
            if counts[name] == 0:
                held = ", ".join(f"{split} {count:,}" for split, count in counts.items())
                yield Finding("error", "split", f"the {name} split would be empty: {held} impressions")
    rows = lines.impressions
    same = (np.diff(lines.user[rows]) == 0) & (np.diff(lines.item[rows]) == 0) & (np.diff(times) == 0)
    if same.sum() > 0.01 * len(times) and spec.log.timestamp.column:
        message = (
            f"{int(same.sum()):,} of {len(times):,} impressions repeat another's user, item and time; if a log "
            "writes rows twice, `log.duplicates: drop` leaves out those that are equal in all columns"
        )
        yield Finding("warning", "log", message)


def weight_findings(spec: RankingSpec, lines: Timelines, rows: pa.Table) -> Iterator[Finding]:
    """Yields how many impressions have no weight, and that it is always the same."""
    if spec.weight is None or lines.weights is None or len(lines.impressions) == 0:
        return
    where, total = f"weight ({spec.weight.column})", len(lines.impressions)
    missing = int(np.isnan(rows["weight"].to_numpy()[lines.source[lines.impressions]]).sum())
    if missing:
        yield Finding("warning", where, f"missing in {missing:,} of {total:,} impressions, which count as 1")
    if lines.weights.min() == lines.weights.max():
        yield Finding("warning", where, f"is {lines.weights[0]:g} in all {total:,} impressions")


def unripe_findings(spec: RankingSpec, lines: Timelines, until: int | None) -> Iterator[Finding]:
    """Yields how many impressions are younger than the attribution window where the rows end (after `until`)."""
    if spec.log.attribution_window is None or spec.log.unripe == "keep" or len(lines.impressions) == 0:
        return
    where, window, total = "log.unripe", format_duration(spec.log.attribution_window), len(lines.impressions)
    if until is None:
        message = (
            f"all {total:,} impressions are younger than log.attribution_window ({window}) where the rows end: their "
            "feedback may not be complete, and they count as if it were; a longer log tells better"
        )
        yield Finding("warning", where, message)
    elif unripe := int((lines.time[lines.impressions] > until).sum()):
        message = (
            f"{unripe:,} of {total:,} impressions are younger than log.attribution_window ({window}) where the rows "
            "end: their feedback may still come, and they are in no task's sample space (`keep` counts them)"
        )
        yield Finding("warning" if unripe > _MANY_UNRIPE * total else "info", where, message)
