"""The features of a draft: what of the log and the tables is known before the impression."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ingest.draft.clocks import Clock
from ingest.draft.draft import Entry
from ingest.draft.kinds import Kind, LeftOut, feature_name, kind_of, leak
from ingest.draft.profile import Profile
from ingest.draft.roles import Choice
from ingest.draft.words import (
    CALENDAR_WORDS,
    CONSUMED_WORDS,
    LENGTH_WORDS,
    POSITIVE_WORDS,
    SESSION_WORDS,
    has,
    identifier,
)
from schema.columns import ITEM_ID, REQUEST_START, TIMESTAMP, USER_ID
from schema.served import EXPONENTS
from schema.statistics import ITEM, USER

# Names that features can't have, or that would be read as something else.
_RESERVED = (USER_ID, ITEM_ID, TIMESTAMP, REQUEST_START, EXPONENTS, USER, ITEM, "hour", "weekday")


class Table(Protocol):
    """A table of users or items."""

    @property
    def columns(self) -> Sequence[Profile]: ...

    @property
    def key(self) -> Choice | None: ...


@dataclass
class FeatureGuess:
    """The features, their profiles by name, and (source, column, why) of what is none."""

    entries: list[Entry] = field(default_factory=list)
    profiles: dict[str, Profile] = field(default_factory=dict)
    left_out: list[tuple[str, str, str]] = field(default_factory=list)

    def names(self, source: str, kind: str) -> list[str]:
        """Returns the names of the features of a source and kind."""
        values = (entry.value for entry in self.entries)
        return [value["name"] for value in values if value["source"] == source and value.get("kind") == kind]


def features_of(
    log: Sequence[Profile],
    users: Table | None,
    items: Table | None,
    labels: Mapping[str, np.ndarray],
    clock: Clock | None,
) -> FeatureGuess:
    """Returns the features among the columns of the log that aren't feedback, and of the tables.

    Args:
      labels: of binary tasks, by which columns are found that know them: 1 and 0, NaN outside of the sample space.
    """
    result = FeatureGuess()
    for profile in log:
        objection = _said_elsewhere(profile, items, clock)
        _add(result, "log", profile, objection or leak(profile, labels))
    for name, derive in (("hour", "hour_of_day"), ("weekday", "day_of_week")):
        if clock and "origin" not in clock.keys and not (clock.is_coarse and name == "hour"):
            result.entries.append(Entry({"name": name, "source": "log", "derive": derive}))
    for source, table in (("users", users), ("items", items)):
        for profile in _without_key(table):
            _add(result, source, profile, _later_count(source, profile))
    return result


def _said_elsewhere(profile: Profile, items: Table | None, clock: Clock | None) -> str | None:
    """Returns why a column of the log tells nothing that comes again, or nothing that isn't said by another."""
    if has(profile.name, SESSION_WORDS):
        return "a session, which never comes back"
    if clock and has(profile.name, CALENDAR_WORDS) and profile.distinct > 2:
        return f"{clock.column!r} says it, and gives `hour` and `weekday`"
    length = next((column.name for column in _without_key(items) if has(column.name, LENGTH_WORDS)), None)
    if length and has(profile.name, LENGTH_WORDS) and profile.numbers is not None:
        return f"the table of items has {length!r}"
    return None


def _without_key(table: Table | None) -> Iterable[Profile]:
    if table is None:
        return ()
    return [profile for profile in table.columns if table.key is None or profile.name != table.key.column]


def _later_count(source: str, profile: Profile) -> str | None:
    """Returns why a count of feedback in the table of items is no feature: it holds what came later."""
    is_count = profile.numbers is not None and profile.flags is None
    if source == "items" and is_count and has(profile.name, (*POSITIVE_WORDS, *CONSUMED_WORDS)):
        return "feedback as of when the table was written, so of after the impressions, too; `statistics` count it"
    return None


def _add(result: FeatureGuess, source: str, profile: Profile, objection: str | None) -> None:
    guess = kind_of(profile)
    if isinstance(guess, LeftOut) or objection:
        why = guess.why if isinstance(guess, LeftOut) else str(objection)
        result.left_out.append((source, profile.name, why))
        return
    name = feature_name(profile.name, guess, (*_RESERVED, *result.profiles), source, identifier(profile.name))
    value = {"name": name, "source": source}
    if name != profile.name:
        value["column"] = profile.name
    result.entries.append(Entry({**value, "kind": guess.kind, **guess.options}, _why(guess, profile), guess.doubt))
    result.profiles[name] = profile


def _why(guess: Kind, profile: Profile) -> str:
    missing = profile.rows - profile.present
    return guess.why + (f", missing in {missing / profile.rows:.0%}" if missing > 0.005 * profile.rows else "")
