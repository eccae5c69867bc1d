"""An online store that is fed with rows as they arrive, and what its requests are compared with."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from examples_in_memory import plain

from pipeline.online.completion import Completer
from pipeline.online.updater import Updater
from schema.spec import RankingSpec
from serving.store.protocol import OnlineStore

MISSING = "__missing__"


@dataclass(frozen=True)
class Event:
    """A row of the log as it arrives, and the day (since 1970-01-01) that it is logged under."""

    time: int
    day: int
    line: bytes


@dataclass(frozen=True)
class Days:
    """Logs, and what they say."""

    spec: RankingSpec
    logs: Path
    examples: list[dict]
    events: list[Event]


def differences(spec: RankingSpec, completer: Completer, example: dict, at: int | None = None) -> list[str]:
    """Returns the columns of a completed request that aren't those of the example."""
    names = [feature.name for feature in spec.features_of("log") if not feature.derive]
    context = {name: None if example[name] == MISSING else example[name] for name in names}
    done = completer.complete(example["user_id"], [example["item_id"]], at or example["timestamp"], context)
    columns = {**done.user, **{name: values[0] for name, values in done.candidates.items()}}
    assert len(columns) > 15
    return [name for name, value in columns.items() if plain(value) != plain(example[name])]


class Feed:
    """Rows that arrive in the order of their times."""

    def __init__(self, updater: Updater, events: list[Event]):
        self._updater, self._events, self._next = updater, events, 0

    def up_to(self, time: int) -> None:
        batch = []
        while self._next < len(self._events) and self._events[self._next].time <= time:
            batch.append(self._events[self._next])
            self._next += 1
        for day in sorted({event.day for event in batch}):
            self._updater.update([event.line for event in batch if event.day == day], day=day)


def drawn(examples: list[dict], since: int, until: int, count: int) -> list[dict]:
    """Returns impressions in the order of time; among them the first and the last, and some of equal times."""
    within = sorted(
        (example for example in examples if since <= example["timestamp"] < until),
        key=lambda example: example["timestamp"],
    )
    indices = np.random.default_rng(7).choice(len(within), count, replace=False)
    twins = [
        index
        for index in range(1, len(within))
        if within[index]["timestamp"] == within[index - 1]["timestamp"]
        and within[index]["user_id"] == within[index - 1]["user_id"]
    ]
    assert twins
    return [within[index] for index in sorted({0, len(within) - 1, *indices.tolist(), *twins[:5]})]


class KilledError(BaseException):
    """What a kill is to the code that it hits."""


class Dying:
    """A store of whichever backend whose user is killed at the n-th call: before it, or (`after`) once it is done."""

    def __init__(self, store: OnlineStore, at: int, after: bool):
        self._store, self._at, self._after, self.calls = store, at, after, 0

    def _call(self, method, *arguments):
        self.calls += 1
        if self.calls == self._at and not self._after:
            raise KilledError
        result = method(*arguments)
        if self.calls == self._at:
            raise KilledError
        return result

    def read(self, keys):
        return self._call(self._store.read, keys)

    def write(self, *arguments):
        return self._call(self._store.write, *arguments)

    def mark(self, name):
        return self._call(self._store.mark, name)
