"""Which columns say who, what and what kind of event; and by which column a table is joined."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.draft.clocks import clock_of
from ingest.draft.profile import Profile, share
from ingest.draft.words import (
    EVENT_WORDS,
    ID_WORDS,
    IMPRESSION_WORDS,
    ITEM_WORDS,
    NEGATIVE_WORDS,
    POSITIVE_WORDS,
    REQUEST_WORDS,
    USER_WORDS,
    has,
    words_of,
)

_MOST_EVENTS = 60
_UNIQUE = 0.999
# The share of a log's ids that a table must have for its key to be theirs.
_COVERED = 0.5


@dataclass(frozen=True)
class Choice:
    """A column, why it was taken, and what about it is unsure."""

    column: str
    why: str
    doubt: str = ""


def choose_ids(
    columns: Sequence[Profile], user: str | None = None, item: str | None = None
) -> tuple[Choice | None, Choice | None]:
    """Returns the columns of the user's and the item's id: as told, by their names, or by what they hold.

    Args:
      user, item: columns that are told.
    """
    users = Choice(user, "told") if user else _by_name(columns, USER_WORDS, {item})
    items = Choice(item, "told") if item else _by_name(columns, ITEM_WORDS, {users.column if users else None})
    if users and items:
        return users, items
    taken = {choice.column for choice in (users, items) if choice}
    alike = [profile for profile in columns if profile.name not in taken and _is_like_id(profile)]
    missing = 2 - len(taken)
    # Those with the most values, in the order of the columns.
    most = sorted(sorted(alike, key=lambda profile: -profile.distinct)[:missing], key=alike.index)
    if len(most) == missing:
        names = iter(most)
        doubt = "no name says so: it has many values that come again"
        users = users or Choice(next(names).name, "a guess", f"is it the user's id? {doubt}")
        items = items or Choice(next(names).name, "a guess", f"is it the item's id? {doubt}")
    return users, items


def _by_name(columns: Sequence[Profile], who: Iterable[str], but: set[str | None]) -> Choice | None:
    scores = {
        profile.name: _id_score(profile, frozenset(who))
        for profile in columns
        if profile.name not in but and profile.distinct > 1 and not profile.is_list and not profile.is_time
    }
    best = max(scores, key=lambda name: scores[name], default=None)
    return Choice(best, "its name") if best is not None and scores[best] > 0 else None


def _id_score(profile: Profile, who: frozenset[str]) -> int:
    """Returns how surely a name is that of an id: `user_id` 4, `user` 3, `uid` 3, `userKey` 4, `user_city` 0."""
    words = words_of(profile.name)
    if who.isdisjoint(words) or profile.flags is not None:
        return 0
    others = [word for word in words if word not in who and word not in ID_WORDS and not word.isdigit()]
    if others:
        # `item_type_id` names something else, `content_item_id` doesn't.
        return 0
    return 3 + any(word in ID_WORDS for word in words)


def _is_like_id(profile: Profile) -> bool:
    if profile.is_list or profile.is_time or profile.flags is not None or profile.is_float or profile.distinct < 2:
        return False
    if profile.numbers is not None and not profile.is_whole:
        return False
    is_word = share(pc.match_substring_regex(pc.drop_null(profile.texts), r"^\S{1,64}$")) > 0.99
    return is_word and profile.present > 0.9 * profile.rows and profile.distinct < profile.present


def choose_event(columns: Sequence[Profile], taken: Iterable[str]) -> Choice | None:
    """Returns the column that says what happened, of a log with one event a row; None where there is none."""
    but = set(taken)
    candidates = {
        profile.name: score for profile in columns if profile.name not in but and (score := _event_score(profile)) > 0
    }
    best = max(candidates, key=lambda name: candidates[name], default=None)
    return Choice(best, "its values are what people do") if best is not None else None


def _event_score(profile: Profile) -> float:
    """Returns the share of rows whose value is something that people do, 1 more where the name says so."""
    if profile.is_list or profile.is_time or profile.numbers is not None or profile.flags is not None:
        return 0.0
    if not 2 <= profile.distinct <= _MOST_EVENTS:
        return 0.0
    values, counts = profile.counts
    does = np.array([is_deed(value) for value in values.to_pylist()])
    rows = float(counts[does].sum() / counts.sum())
    if does.sum() < 2 and not (does.any() and has(profile.name, EVENT_WORDS)):
        return 0.0
    return rows + has(profile.name, EVENT_WORDS) if rows >= 0.5 else 0.0


def is_deed(value: str) -> bool:
    """Returns whether a value names something that people do, or see."""
    words = words_of(value)
    return len(words) <= 4 and has(value, (*POSITIVE_WORDS, *NEGATIVE_WORDS, *IMPRESSION_WORDS))


def choose_impression(events: Profile) -> Choice:
    """Returns the event's value that opens an example: by its name, or the most frequent one."""
    for word in IMPRESSION_WORDS:
        for value in events.values:
            if word in words_of(value):
                return Choice(value, "what its name says")
    most = events.values[0]
    return Choice(most, "the most frequent event", "does every row of feedback follow one of these?")


def choose_request(columns: Sequence[Profile], taken: Iterable[str]) -> Choice | None:
    """Returns the column of a request's id; None where no name says so."""
    but = set(taken)
    for profile in columns:
        words = words_of(profile.name)
        if profile.name not in but and not REQUEST_WORDS.isdisjoint(words) and 1 < profile.distinct < profile.rows:
            return Choice(profile.name, "its name")
    return None


def choose_key(table: Sequence[Profile], log: Profile) -> Choice | None:
    """Returns the column by which a table is joined with an id of the log: of the same name, or of the same values."""
    unique = [profile for profile in table if _is_unique(profile)]
    covered = {profile.name: _covered(log, profile) for profile in unique}
    best = max(covered, key=lambda name: (words_of(name) == words_of(log.name), covered[name]), default=None)
    if best is None or covered[best] < _COVERED:
        return None
    if words_of(best) == words_of(log.name):
        return Choice(best, "named as the log's, and unique")
    return Choice(best, f"unique, with {covered[best]:.0%} of the log's {log.name!r}")


def is_key_of(profile: Profile, log: Profile) -> bool:
    """Returns whether a column is unique and named as an id of the log."""
    return _is_unique(profile) and words_of(profile.name) == words_of(log.name)


def _is_unique(profile: Profile) -> bool:
    return profile.distinct >= _UNIQUE * profile.rows > 0


def _covered(log: Profile, key: Profile) -> float:
    values: pa.Array = log.counts[0]
    return share(pc.is_in(values, value_set=key.counts[0].cast(values.type)))


def headerless_names(columns: Sequence[Profile], is_log: bool, is_rating: Mapping[str, bool]) -> list[str]:
    """Returns names of columns that have none: by what they hold, or by their place, `column_3`.

    Args:
      is_rating: whether a column looks like one of ratings, by its present name.
    """
    names = {profile.name: profile.name for profile in columns}
    if not is_log:
        return list(names.values())
    times = [profile for profile in columns if clock_of(profile)]
    if times:
        names[times[0].name] = "timestamp"
    rest = [profile for profile in columns if profile not in times]
    event = choose_event(rest, ())
    if event:
        names[event.column] = "event"
    rest = [profile for profile in rest if not event or profile.name != event.column]
    rated = next((profile for profile in reversed(rest) if is_rating[profile.name]), None)
    if rated:
        names[rated.name] = "rating"
    rest = [profile for profile in rest if profile is not rated]
    user, item = choose_ids(rest)
    if user and item:
        names[user.column], names[item.column] = "user", "item"
    return list(names.values())
