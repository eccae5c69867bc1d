"""Names why a value that was served isn't what the logs tell.

First by trial: where the request, made as of an older generation, of events that end earlier, with other delays or
without repeated rows, has the value that was served, that is why. Else by what the value says itself: an event that it
lacks, or has too much.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import zip_longest

import numpy as np

from ingest.windows.rolling import DAY
from pipeline.online.consistency.comparison import Difference, Part, is_equal, parts_of
from pipeline.online.consistency.rebuild import Logs, Rebuilder
from pipeline.online.consistency.records import Served
from pipeline.online.generations import digest_of
from schema.columns import ITEM_ID
from schema.spec import RankingSpec
from schema.statistics import AGE, IMPRESSIONS, slots, statistic_of, statistics_of

LATE, UNLOGGED, DOUBLED = "late event", "not in the logs", "doubled event"
GENERATION, DELAY = "older generation", "other delay"
DEFINITION, DEGRADED, UNEXPLAINED = "other definition", "answered without the store", "unexplained"
# How many of a user's latest rows are taken away in search of those that hadn't come.
_MOST_LATE_ROWS = 10
_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Reason:
    """Why a value differs: one of the names above, and the same in words."""

    name: str
    detail: str


@dataclass(frozen=True)
class _Trial:
    """The logs as they may have looked when a request was answered, and what it means if they did."""

    reason: Reason
    logs: Callable[[], Logs]


class Explainer:
    """Explains differences; what is tried of a request is tried once for all its columns."""

    def __init__(self, rebuilder: Rebuilder):
        self._rebuilder, self._logs, self._spec = rebuilder, rebuilder.logs, rebuilder.spec
        self._digest = digest_of(self._spec)
        self._features = {part.name: part for part in parts_of(self._spec) if part.column.role == "feature"}
        self._line = 0
        self._tried: list[tuple[Reason, dict[str, np.ndarray]]] = []

    def explain(self, served: Served, difference: Difference, rebuilt: dict[str, np.ndarray]) -> Reason:
        """Returns why a value of a request differs."""
        if served.degraded is not None:
            return Reason(DEGRADED, f"the store was not read: {served.degraded}")
        part, name = difference.part, difference.part.column.name
        for reason, inputs in self._trials_of(served):
            if is_equal(part, served.inputs[name], inputs[name], difference.place):
                return reason
        by_value = self._by_value(served, difference, rebuilt)
        if served.origin.digest != self._digest:
            detail = f"served by {served.origin.digest}, and this spec is {self._digest}"
            return Reason(DEFINITION, f"{detail}; or {by_value.name}: {by_value.detail}" if by_value else detail)
        return by_value or Reason(UNEXPLAINED, "no event, table, delay or generation explains it")

    def _trials_of(self, served: Served) -> list[tuple[Reason, dict[str, np.ndarray]]]:
        if self._line != served.line:
            self._line = served.line
            self._tried = [(trial.reason, Rebuilder(trial.logs()).inputs_of(served)) for trial in self._trials(served)]
        return self._tried

    def _trials(self, served: Served) -> Iterator[_Trial]:
        logs, origin, until = self._logs, served.origin, served.origin.until
        delays = other_delays(self._spec, served)
        if delays:
            words = ", ".join(f"{name} {theirs} s, here {ours} s" for name, (theirs, ours) in delays.items())
            yield _Trial(
                Reason(DELAY, f"served with {words}"), lambda: replace(logs, spec=with_delays(logs.spec, served))
            )
        since, time = logs.log[DAY].to_numpy() > until, logs.log["time"].to_numpy()
        held = f"generation {origin.generation} holds the days until {_day(until)}"
        if origin.latest_event is None:
            reason = Reason(GENERATION, f"{held}, and no event since then had been counted")
            yield _Trial(reason, lambda: logs.only(~since))
            yield _Trial(reason, lambda: logs.only(~since).with_tables_of(until))
        else:
            latest = origin.latest_event * logs.spec.log.timestamp.ticks_per_second // origin.ticks_per_second
            before = (logs.moment_of(served) - latest) / logs.spec.log.timestamp.ticks_per_second
            words = f"the latest event counted was of {self._time(latest)}, {before:,.0f} s before the request"
            yield _Trial(Reason(LATE, words), lambda: logs.only(~since | (time <= latest)))
        tables = Reason(GENERATION, f"{held}, and the tables of that day")
        yield _Trial(tables, lambda: logs.with_tables_of(until))
        once = _once(logs, since)
        if len(once) < logs.log.num_rows:
            words = "rows of one user, item and time stand twice in the logs, and count once in the store"
            yield _Trial(Reason(DOUBLED, words), lambda: logs.only(once))

    def _by_value(self, served: Served, difference: Difference, rebuilt: dict[str, np.ndarray]) -> Reason | None:
        column = difference.part.column
        if column.behaviour is not None:
            return self._by_sequence(served, column.behaviour, rebuilt)
        if difference.part.slot is not None:
            return self._by_keys(served, difference, rebuilt) or _by_numbers(
                self._spec, difference, served.inputs[column.name], rebuilt[column.name]
            )
        if column.feature is not None and column.feature.source == "log" and not column.feature.derive:
            return self._by_last_row(served, difference.part, rebuilt)
        if column.feature is not None and column.feature.source in ("users", "items"):
            return _TABLES
        return None

    def _by_sequence(self, served: Served, behaviour: str, rebuilt: dict[str, np.ndarray]) -> Reason | None:
        """Returns the newest event that one side has and the other lacks: older ones may have gone for its sake."""
        names = [name for name in (f"{behaviour}_{ITEM_ID}", f"{behaviour}_age_s") if name in served.inputs]
        if not names or not names[-1].endswith("_age_s"):
            return None
        ours, theirs = (
            [*zip(*(inputs[name].tolist() for name in names), strict=True)] for inputs in (served.inputs, rebuilt)
        )
        pairs = zip_longest(reversed(ours), reversed(theirs))
        differing = next((pair for pair in pairs if pair[0] != pair[1]), None)
        if differing is None:
            return _TABLES
        if Counter(ours) == Counter(theirs):
            return Reason(UNEXPLAINED, f"{behaviour}: events of one time stand in the logs in another order")
        event = _newer(*differing, Counter(ours), Counter(theirs))
        time = self._logs.moment_of(served) - round(event[-1] * self._spec.log.timestamp.ticks_per_second)
        item = f"{behaviour}: {event[0].decode()!r} of" if len(event) > 1 else f"{behaviour}: the event of"
        words = f"{item} {self._time(time)}"
        if ours.count(event) > theirs.count(event):
            return Reason(UNLOGGED, f"{words} had been counted, and the logs don't have it")
        if event in ours:
            return Reason(DOUBLED, f"{words} stands more than once in the logs")
        return Reason(LATE, f"{words} had not been counted: it came later, or was lost on its way to the store")

    def _by_keys(self, served: Served, difference: Difference, rebuilt: dict[str, np.ndarray]) -> Reason | None:
        """Returns why the key was another one, where it was: one of its features differs."""
        keys = statistic_of(self._spec, difference.part.column.name).keys
        for feature in self._spec.features:
            if feature.name not in keys or feature.name not in served.inputs:
                continue
            part = self._features[feature.name]
            place = difference.place if part.column.side == "item" else None
            if not is_equal(part, served.inputs[feature.name], rebuilt[feature.name], place):
                return self._by_last_row(served, part, rebuilt) if feature.source == "log" else _TABLES
        return None

    def _by_last_row(self, served: Served, part: Part, rebuilt: dict[str, np.ndarray]) -> Reason:
        for behaviour in self._spec.behaviours:
            # The same events as in the user's sequences: they say which.
            reason = self._by_sequence(served, behaviour.name, rebuilt)
            if reason is not None and reason.name in (LATE, UNLOGGED, DOUBLED):
                return reason
        rows = self._rebuilder.rows_of(served)
        rows = rows.take(np.argsort(rows["time"].to_numpy(), kind="stable"))
        for late in range(1, min(_MOST_LATE_ROWS, rows.num_rows) + 1):
            inputs = self._rebuilder.inputs_of(served, rows.slice(0, rows.num_rows - late))
            if is_equal(part, served.inputs[part.name], inputs[part.name], None):
                return Reason(LATE, f"the user's last {late} rows had not been counted")
        return Reason(UNLOGGED, "the last row of the user that had been counted is not in the logs")

    def _time(self, ticks: int) -> str:
        return datetime.fromtimestamp(ticks / self._spec.log.timestamp.ticks_per_second, UTC).isoformat()


_TABLES = Reason(GENERATION, "the tables say otherwise than when the generation was made")


def _newer(ours: tuple | None, theirs: tuple | None, served: Counter, rebuilt: Counter) -> tuple:
    """Returns which of two events, the newest that differ, one side lacks; of two the newer.

    Args:
      ours, theirs: with the age as the last value; None where the sequence has ended.
      served, rebuilt: how often each event is in the sequences.
    """
    if ours is None or theirs is None:
        return ours or theirs or ()
    if served[ours] <= rebuilt[ours]:
        return theirs
    return ours if rebuilt[theirs] <= served[theirs] or ours[-1] <= theirs[-1] else theirs


def _by_numbers(spec: RankingSpec, difference: Difference, served: np.ndarray, rebuilt: np.ndarray) -> Reason | None:
    """Returns what a sum says: events that it lacks, or has too many of; the impressions say it first."""
    names = [(slot.sum, slot.span) for slot in slots(spec, statistic_of(spec, difference.part.column.name))]
    sum_, span = names[difference.part.slot or 0]
    ours, theirs = (values if difference.place is None else values[difference.place] for values in (served, rebuilt))
    shown = names.index((IMPRESSIONS, span))
    if np.isnan(ours).any() != np.isnan(theirs).any():
        return None
    if ours[shown] != theirs[shown]:
        what, less = "rows", ours[shown] < theirs[shown]
    else:
        what, less = f"feedback ({sum_})", ours[difference.part.slot] < theirs[difference.part.slot]
    if span == AGE:
        # The age of nothing is -1; otherwise what lacks an event is older.
        index = shown if ours[shown] != theirs[shown] else difference.part.slot
        less = ours[index] < 0 if (ours[index] < 0) != (theirs[index] < 0) else ours[index] > theirs[index]
    if less:
        return Reason(LATE, f"{what} of the key had not been counted: they came later, or were lost on the way")
    return Reason(UNLOGGED, f"{what} of the key had been counted that the logs don't have")


def other_delays(spec: RankingSpec, served: Served) -> dict[str, tuple[int, int]]:
    """Returns the delays that a request was served with and the spec doesn't have, by name: both, in seconds."""
    ours = {behaviour.name: behaviour.delay for behaviour in spec.behaviours}
    pairs = {name: (delay, ours.get(name)) for name, delay in served.origin.behaviour_delays.items()}
    ours = {statistic.name: statistic.delay for statistic in statistics_of(spec)}
    pairs |= {name: (delay, ours.get(name)) for name, delay in served.origin.statistic_delays.items()}
    return {name: (served_, here) for name, (served_, here) in pairs.items() if here is not None and served_ != here}


def with_delays(spec: RankingSpec, served: Served) -> RankingSpec:
    """Returns the spec with the delays that a request was served with."""
    behaviours = tuple(
        behaviour.model_copy(update={"delay": served.origin.behaviour_delays.get(behaviour.name, behaviour.delay)})
        for behaviour in spec.behaviours
    )
    section = spec.statistics
    if section is not None:
        delays = served.origin.statistic_delays
        entries = (
            entry.model_copy(update={"delay": delays.get(statistic.name, statistic.delay)})
            for entry, statistic in zip(section.by, statistics_of(spec), strict=True)
        )
        section = section.model_copy(update={"by": tuple(entries)})
    return spec.model_copy(update={"behaviours": behaviours, "statistics": section})


def _once(logs: Logs, since: np.ndarray) -> np.ndarray:
    """Returns int64 the rows that count in a store: of those `since` that are alike the last, at the first's place."""
    rows = np.flatnonzero(since)
    names = [name for name in ("user", "item", "time", "event") if name in logs.log.column_names]
    alike = list(zip(*(logs.log[name].take(rows).to_pylist() for name in names), strict=True))
    last = dict(zip(alike, rows.tolist(), strict=True))
    first = dict(zip(reversed(alike), reversed(rows.tolist()), strict=True))
    result = np.arange(logs.log.num_rows)
    result[rows] = -1
    result[list(first.values())] = [last[key] for key in first]
    return result[result >= 0]


def _day(number: int) -> str:
    return str(date.fromordinal(_EPOCH + number))
