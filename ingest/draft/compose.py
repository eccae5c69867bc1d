"""What is guessed of columns, put together: a drafted spec."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ingest.draft.attribution import LONGEST_WINDOW, as_task, choose_window, event_labels, seconds_since_impression
from ingest.draft.clocks import Clock, choose_clock, clock_of
from ingest.draft.draft import Draft, DraftError, Entry, listed
from ingest.draft.known import FeatureGuess, features_of
from ingest.draft.labels import Feedback, labels_of
from ingest.draft.profile import Profile
from ingest.draft.roles import Choice, choose_event, choose_ids, choose_impression, choose_request
from ingest.draft.sections import behaviours_of, gates_of, slices_of, statistics_of
from ingest.times import times
from ingest.values import Column, Rejects
from schema.clock import Timestamp
from schema.parts import format_duration


@dataclass(frozen=True)
class Hints:
    """What the user tells: the columns of the ids and of the time, feedback (columns, or events), the log's files."""

    user: str | None = None
    item: str | None = None
    time: str | None = None
    labels: tuple[str, ...] = ()
    files: str | None = None


@dataclass(frozen=True)
class Source:
    """The files of a source: the keys of its section with why, a sample of its columns, and those that can't be read.

    `key` is of a table.
    """

    section: Mapping[str, Entry]
    columns: Sequence[Profile]
    unread: Mapping[str, str] = field(default_factory=dict)
    key: Choice | None = None

    def column(self, name: str) -> Profile:
        return next(profile for profile in self.columns if profile.name == name)


# How long after its row feedback is taken to be known, and a pause after which a user asks anew.
_DELAY, _PAUSE = "5m", "30m"
_FEW_TIMES = 20
# No task may lose by sharing, which a newcomer can't know beforehand.
_ROUTING = Entry(
    "auto", "PLE and single-task networks, each task served by what does best; `ple` alone takes half the time"
)


def compose(name: str, about: str, log: Source, users: Source | None, items: Source | None, hints: Hints) -> Draft:
    """Returns the draft of what the log and the tables hold.

    Raises:
      DraftError: the log has no user, no item, no feedback, or not a column that was told.
    """
    user, item = ids_of(log, hints)
    clock = clock_in(log, hints, {user.column, item.column})
    taken = {user.column, item.column, *([clock.column] if clock else [])}
    event = choose_event(log.columns, taken) if clock and not _are_columns(log, hints.labels) else None
    draft = _of_events if event else _of_impressions
    head = {
        "layout": Entry("events" if event else "impressions", _why_layout(event)),
        **log.section,
        "user": Entry(user.column, user.why, user.doubt),
        "item": Entry(item.column, item.why, item.doubt),
    }
    if clock:
        head["timestamp"] = Entry({"column": clock.column, **clock.keys}, clock.why, clock.doubt)
    parts = _Parts(name, about, log, users, items, hints, head, taken, clock, event)
    return draft(parts)


@dataclass(frozen=True)
class _Parts:
    name: str
    about: str
    log: Source
    users: Source | None
    items: Source | None
    hints: Hints
    head: dict[str, Entry]
    taken: set[str]
    clock: Clock | None
    event: Choice | None


def _why_layout(event: Choice | None) -> str:
    if event:
        return f"{event.column!r} says what happened: a row is an event"
    return "no column says what happened: a row is an impression with its feedback"


def _check_hints(log: Source, hints: Hints) -> None:
    names = [profile.name for profile in log.columns]
    for option, column in (("--user", hints.user), ("--item", hints.item), ("--time", hints.time)):
        if column is not None and column not in names:
            raise DraftError(f"{option} {column}: the log has no such column; it has {listed(names)}")


def _are_columns(log: Source, labels: Sequence[str]) -> bool:
    return any(profile.name in labels for profile in log.columns)


def ids_of(log: Source, hints: Hints) -> tuple[Choice, Choice]:
    """Returns the columns of the user's and the item's id.

    Raises:
      DraftError: the log has none, or lacks a column that is told.
    """
    _check_hints(log, hints)
    user, item = choose_ids(log.columns, hints.user, hints.item)
    if user and item:
        return user, item
    lacking = [option for option, choice in (("--user", user), ("--item", item)) if choice is None]
    raise DraftError(
        f"no column looks like the id of the {' or the '.join(option[2:] for option in lacking)}; say which it is by "
        f"{' and '.join(f'{option} COLUMN' for option in lacking)}. The log has "
        f"{listed(profile.name for profile in log.columns)}"
    )


def clock_in(log: Source, hints: Hints, ids: set[str]) -> Clock | None:
    """Returns the log's clock; None where no column holds times. Raises DraftError where the one told holds none."""
    if hints.time is None:
        return choose_clock(profile for profile in log.columns if profile.name not in ids)
    profile = log.column(hints.time)
    clock = clock_of(profile) or choose_clock([Profile("timestamp", profile.cells)])
    if clock is None:
        raise DraftError(f"--time {hints.time}: holds no times, but values such as {profile.values[:3]}")
    return Clock(hints.time, clock.keys, clock.why, clock.doubt, clock.is_coarse)


def _of_impressions(parts: _Parts) -> Draft:
    log, clock = parts.log, parts.clock
    request = choose_request(log.columns, parts.taken)
    taken = parts.taken | ({request.column} if request else set())
    rest = [profile for profile in log.columns if profile.name not in taken]
    _check_labels(parts.hints.labels, [profile.name for profile in rest])
    feedback = labels_of(rest, parts.hints.labels)
    for column in parts.hints.labels:
        if column not in {label.task.get("column") for label in feedback.labels}:
            why = feedback.left_out.get(column, "holds neither 0 and 1 nor numbers")
            raise DraftError(f"--label {column}: {why}")
    if not feedback.labels:
        raise DraftError(
            "no column looks like feedback (0/1, such as a click; a rating; a time of watching next to a length): "
            f"nothing to predict. Say what it is by --label COLUMN. The log has {listed(p.name for p in rest)}"
        )
    head = dict(parts.head)
    if clock:
        head["request"] = (
            Entry({"column": request.column}, "the impressions of one request", "is it one list that was ranked?")
            if request
            else _gap()
        )
    used = {label.task.get("column") for label in feedback.labels}
    numerators = {label.task["ratio"]["numerator"] for label in feedback.labels if "ratio" in label.task}
    feature_columns = [profile for profile in rest if profile.name not in used | numerators | set(feedback.left_out)]
    binary = {label.name: label.values for label in feedback.labels if label.is_binary}
    features = features_of(feature_columns, parts.users, parts.items, binary, clock)
    left_out = [(column, why) for column, why in feedback.left_out.items() if column not in used | numerators]
    tasks = [Entry(label.task, label.why, label.doubt) for label in feedback.labels]
    behaviours = behaviours_of(feedback.labels, _DELAY) if clock else []
    return _finished(parts, head, features, left_out, tasks, behaviours, _DELAY, feedback)


def _gap() -> Entry:
    return Entry({"gap": _PAUSE}, "no column tells requests: a user's impressions without a longer pause")


def _check_labels(hinted_labels: Sequence[str], names: Sequence[str]) -> None:
    for label in hinted_labels:
        if label not in names:
            raise DraftError(f"--label {label}: the log has no such column of feedback; it has {listed(names)}")


def _of_events(parts: _Parts) -> Draft:
    log, clock = parts.log, parts.clock
    assert clock is not None
    assert parts.event is not None
    events = log.column(parts.event.column)
    impression = choose_impression(events)
    texts = np.array(events.texts.to_pylist(), object)
    is_impression = texts == impression.column
    user, item = str(parts.head["user"].value), str(parts.head["item"].value)
    gaps = seconds_since_impression(
        _numbered(log.column(user)),
        _numbered(log.column(item)),
        _seconds(log.column(clock.column), clock),
        is_impression,
    )
    # Only what is feedback decides how long feedback takes.
    candidates, _ = event_labels(events, impression.column, gaps, LONGEST_WINDOW, parts.hints.labels)
    window, why = choose_window({label.event: gaps[texts == label.event] for label in candidates})
    labels, left_out = event_labels(events, impression.column, gaps, window, parts.hints.labels)
    _check_labels(parts.hints.labels, events.values)
    if not labels:
        raise DraftError(
            f"no event labels an impression: the log has {listed(events.values)}, of which {impression.column!r} was "
            "taken for the impression, and no other follows it with the same user and item. Say what feedback is by "
            "--label EVENT"
        )
    head = {
        **parts.head,
        "request": _gap(),
        "event": Entry(events.name, parts.event.why, parts.event.doubt),
        "impression": Entry(impression.column, impression.why, impression.doubt),
        "attribution_window": Entry(format_duration(window), why),
    }
    taken = parts.taken | {events.name}
    feature_columns = [profile.where(is_impression) for profile in log.columns if profile.name not in taken]
    features = features_of(feature_columns, parts.users, parts.items, {}, clock)
    tasks = [
        Entry(as_task(label), f"{label.attributed:,} of {label.count:,} rows label an impression", label.doubt)
        for label in labels
    ]
    conditions = [({"name": "viewed", "event": impression.column}, int(is_impression.sum()))]
    conditions += [({"name": label.behaviour, "event": label.event}, label.count) for label in labels]
    behaviours = [
        Entry({**condition, "max_length": 20 if index else 50}, f"{count:,} rows")
        for index, (condition, count) in enumerate(conditions[:6])
    ]
    counts = {label.name: label.attributed for label in labels}
    return _finished(parts, head, features, [*left_out.items()], tasks, behaviours, "0s", Feedback(), counts)


def _numbered(profile: Profile) -> np.ndarray:
    """Returns the place of each row's id among the distinct ones; a missing one is a value of its own."""
    encoded = profile.texts.dictionary_encode()
    codes = encoded.indices.fill_null(len(encoded.dictionary))
    return codes.to_numpy(zero_copy_only=False).astype(np.int64)


def _seconds(profile: Profile, clock: Clock) -> np.ndarray:
    declared = Timestamp(column=profile.name, **clock.keys)
    ticks = times(Column(profile.name, profile.cells, Rejects(profile.rows)), declared)
    return ticks / declared.ticks_per_second


def _finished(
    parts: _Parts,
    head: dict[str, Entry],
    features: FeatureGuess,
    left_out: Sequence[tuple[str, str]],
    tasks: Sequence[Entry],
    behaviours: Sequence[Entry],
    delay: str,
    feedback: Feedback,
    counts: Mapping[str, int] | None = None,
) -> Draft:
    unread = [
        (source, column, why)
        for source, files in (("log", parts.log), ("users", parts.users), ("items", parts.items))
        if files
        for column, why in files.unread.items()
    ]
    statistics = statistics_of(features, delay) if parts.clock else {}
    return Draft(
        name=parts.name,
        about=parts.about,
        log=head,
        users=_table(parts.users),
        items=_table(parts.items),
        features=features.entries,
        left_out=[*(("log", column, why) for column, why in left_out), *features.left_out, *unread],
        behaviours=behaviours,
        tasks=tasks,
        statistics=statistics,
        split=_split(parts),
        slices=slices_of(features, bool(statistics)),
        gates=gates_of(feedback.labels, counts or {}),
        model={"routing": _ROUTING} if len(tasks) > 1 else {},
    )


def _table(source: Source | None) -> dict[str, Entry]:
    if source is None or source.key is None:
        return {}
    return {**source.section, "key": Entry(source.key.column, source.key.why, source.key.doubt)}


def _split(parts: _Parts) -> Entry:
    split: dict[str, Any] = {"by": "time", "eval": 0.1, "test": 0.1}
    if parts.clock is None:
        return Entry({**split, "by": "user"}, "no column holds times; --time COLUMN says which one does")
    if parts.log.column(parts.clock.column).distinct < _FEW_TIMES:
        return Entry({**split, "by": "user"}, "the times are too few to split by")
    return Entry(split, "the newest rows judge the model")
