"""What a log with one event a row says that people did after an impression, and how soon."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ingest.draft.profile import Profile
from ingest.draft.roles import is_deed
from ingest.draft.words import NEGATIVE_WORDS, has, identifier, past_of, verb_of

LONGEST_WINDOW = 7 * 86_400
_WINDOWS = (1_800, 3_600, 6 * 3_600, 86_400, LONGEST_WINDOW)
# The share of what comes within the longest window that the chosen one takes in.
_ENOUGH = 0.98
_LEAST_EVENTS = 3


@dataclass(frozen=True)
class EventLabel:
    """A task of an event log: the event, how many impressions it labels, and what is unsure."""

    event: str
    name: str
    behaviour: str
    count: int
    attributed: int
    doubt: str = ""


def seconds_since_impression(
    user: np.ndarray, item: np.ndarray, seconds: np.ndarray, is_impression: np.ndarray
) -> np.ndarray:
    """Returns per row how long ago the last impression of the same user and item was, strictly before; infinity: none.

    Args:
      user, item: int64, numbers of the ids.
      seconds: float64, of any origin.
    """
    pair = user * (int(item.max(initial=0)) + 1) + item
    # At the same time, an impression is not before the others.
    order = np.lexsort((is_impression, seconds, pair))
    impression_index = np.where(is_impression[order], np.arange(len(order)), -1)
    last = np.concatenate(([-1], np.maximum.accumulate(impression_index)[:-1])) if len(order) else impression_index
    ordered_pair, ordered_seconds = pair[order], seconds[order]
    gap = np.full(len(order), np.inf)
    is_same = (last >= 0) & (ordered_pair[last] == ordered_pair)
    gap[is_same] = ordered_seconds[is_same] - ordered_seconds[last[is_same]]
    # Of several rows at the time of the last impression, none is after it: that before may be, which is rare.
    gap[gap <= 0] = np.inf
    result = np.empty(len(order))
    result[order] = gap
    return result


def choose_window(gaps_by_event: Mapping[str, np.ndarray]) -> tuple[int, str]:
    """Returns the attribution window, in seconds, that takes in most feedback of each event, and why.

    Args:
      gaps_by_event: seconds between feedback and its impression.
    """
    gaps = np.concatenate([np.zeros(0), *gaps_by_event.values()])
    if not (gaps <= LONGEST_WINDOW).any():
        return 86_400, "no feedback follows an impression of the same user and item"

    def is_enough(window: int) -> bool:
        return all(
            (event <= window).sum() >= _ENOUGH * (event <= LONGEST_WINDOW).sum() for event in gaps_by_event.values()
        )

    window = next(window for window in _WINDOWS if is_enough(window))
    return window, f"{(gaps <= window).mean():.0%} of the feedback comes so soon after an impression of its item"


def event_labels(
    events: Profile, impression: str, gaps: np.ndarray, window: int, hinted_labels: Iterable[str] = ()
) -> tuple[list[EventLabel], dict[str, str]]:
    """Returns the events that label impressions, the most frequent first, and the others with why they don't.

    Args:
      gaps: seconds since the last impression, by row.
      window: seconds.
      hinted_labels: events that are labels, whatever their names say.
    """
    hinted_labels = set(hinted_labels)
    texts = np.array(events.texts.to_pylist(), object)
    labels: list[EventLabel] = []
    left_out: dict[str, str] = {}
    for event, count in zip(events.values, events.counts[1].tolist(), strict=True):
        if event == impression:
            continue
        attributed = int((gaps[texts == event] <= window).sum())
        if has(event, NEGATIVE_WORDS) and event not in hinted_labels:
            left_out[event] = (
                f"in {count:,} of {len(texts):,} rows: people dislike; as a task with an `exponent` of 0 or less"
            )
        elif attributed < _LEAST_EVENTS:
            left_out[event] = f"of {count:,} rows only {attributed:,} follow an impression within the window"
        else:
            doubt = "" if event in hinted_labels or is_deed(event) else "is this feedback?"
            verb = verb_of(event)
            labels.append(EventLabel(event, verb, past_of(verb), count, attributed, doubt))
    return _distinct(labels, identifier(impression)), left_out


def _distinct(labels: list[EventLabel], impression: str) -> list[EventLabel]:
    names = [label.name for label in labels]
    result = []
    for label in labels:
        clashes = any(name.startswith(label.name) and name != label.name for name in names)
        name = f"did_{label.name}" if clashes or names.count(label.name) > 1 else label.name
        behaviour = label.behaviour if label.behaviour != past_of(verb_of(impression)) else f"did_{label.name}"
        result.append(EventLabel(label.event, name, behaviour, label.count, label.attributed, label.doubt))
    return result


def as_task(label: EventLabel) -> Mapping[str, Any]:
    return {"name": label.name, "event": label.event}
