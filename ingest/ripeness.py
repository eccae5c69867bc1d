"""Impressions whose feedback may still come when the log ends: in layout `events`, younger than `attribution_window`.

They are in no task's sample space, those with feedback as little as the others: if what has come so far counted, quick
feedback would be all that the youngest tell of, and their rates would be too high.
"""

from dataclasses import dataclass, replace

import numpy as np

from ingest.time_split import TimeCounts
from ingest.timeline import Timelines
from schema.spec import RankingSpec


@dataclass(frozen=True)
class Span:
    """The time of the first impression that becomes an example (None without any), and of the last row, in ticks."""

    first: int | None
    last: int

    @classmethod
    def of(cls, impressions: np.ndarray, rows: np.ndarray) -> "Span | None":
        """Returns the span of impressions and rows with these times; None without rows."""
        if len(rows) == 0:
            return None
        return cls(int(impressions.min()) if len(impressions) else None, int(rows.max()))


def together(spans: list[Span | None]) -> Span | None:
    """Returns the span of all rows of the spans."""
    there = [span for span in spans if span]
    if not there:
        return None
    first = min((span.first for span in there if span.first is not None), default=None)
    return Span(first, max(span.last for span in there))


def ripe_until(spec: RankingSpec, span: Span | None) -> int | None:
    """Returns the latest time of impressions whose feedback is complete; None where all count as such.

    They do where nothing would be left: the log is shorter than the window, and can't tell.
    """
    if spec.log.attribution_window is None or spec.log.unripe == "keep" or span is None or span.first is None:
        return None
    until = span.last - spec.log.attribution_window * spec.log.timestamp.ticks_per_second
    return until if until >= span.first else None


def span_of(timelines: Timelines) -> Span | None:
    """Returns the span of the timelines' rows, all of whose impressions become examples."""
    return Span.of(timelines.time[timelines.impressions], timelines.time)


def split_times(spec: RankingSpec, times: TimeCounts, until: int | None) -> TimeCounts:
    """Returns what the splits are shares of: by time, impressions that are ripe; the others come after the cuts."""
    if until is None or spec.split.by != "time":
        return times
    ripe = (times.values << times.shift) <= until
    return replace(times, values=times.values[ripe], counts=times.counts[ripe])


def mask_unripe(timelines: Timelines, until: int | None) -> tuple[Timelines, dict[str, int]]:
    """Returns the timelines with impressions after `until` outside of all sample spaces, and how many were in each."""
    if until is None:
        return timelines, {}
    ripe = timelines.time[timelines.impressions] <= until
    masked = {task: int((space & ~ripe).sum()) for task, space in timelines.spaces.items()}
    spaces = {task: space & ripe for task, space in timelines.spaces.items()}
    labels = {task: np.where(ripe, label, 0).astype(np.float32) for task, label in timelines.labels.items()}
    return replace(timelines, spaces=spaces, labels=labels), masked
