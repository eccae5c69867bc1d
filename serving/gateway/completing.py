"""What completes requests of ids, as the server sees it: who starts the server hands it in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class IdRequestError(ValueError):
    """A request of ids that can't be completed as asked; the message is meant for who asked."""


@dataclass(frozen=True)
class IdRequest:
    """A request of a user and candidates.

    Attributes:
      at: when, in ticks of the examples' clock; None is now.
      given: the inputs that the request has itself, by name.
    """

    user: str
    items: Sequence[str]
    at: int | None = None
    given: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class CompletedRequest:
    """The inputs of `rank`, and what the store knew.

    Attributes:
      lag_seconds: how long before the request the latest row was that is counted; None where nothing was read.
      is_late: whether that is longer than feedback takes to be known, so that something may be missing.
      origin: returns what the inputs were made from and when, in JSON's types, for a log of requests.
    """

    inputs: dict[str, np.ndarray]
    unknown_user: bool = False
    unknown_items: int = 0
    lag_seconds: float | None = None
    is_late: bool = False
    origin: Callable[[], Mapping[str, Any]] = dict


@dataclass(frozen=True)
class CountedEvents:
    """What became of events.

    Attributes:
      counted: how many are in the store now.
      rejected: the place and reason of those that can't be used.
      settled: how many are of days that the store's generation holds already.
      unused: how many the spec leaves out, such as events that it doesn't name.
    """

    counted: int
    rejected: Sequence[tuple[int, str]]
    settled: int = 0
    unused: int = 0


class Completing(Protocol):
    """Completes requests; its methods may be called from many threads at once, and raise StoreError."""

    def refusal(self, version: Path) -> str | None:
        """Returns why requests can't be completed for the model in a version's folder; None where they can."""
        ...

    def complete(self, request: IdRequest) -> CompletedRequest:
        """Returns the inputs of a request from the store.

        Raises:
          IdRequestError: an id, a given value or the moment can't be one.
        """
        ...

    def without_store(self, request: IdRequest) -> CompletedRequest:
        """Returns the inputs as of a user and items that nothing is known of.

        Raises:
          IdRequestError: an id, a given value or the moment can't be one.
        """
        ...

    def count(self, lines: Sequence[bytes]) -> CountedEvents:
        """Adds events to the store."""
        ...

    def generation_age(self) -> float:
        """Returns how many seconds ago the current generation was made."""
        ...
