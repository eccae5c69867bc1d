"""A store that nobody waits for too long."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from serving.store.protocol import NO_EXPECTATIONS, NO_MARKS, Marks, OnlineStore, StoreUnavailableError


class _Forwarding(ABC):
    """Hands each call on to another store; see `serving.store.protocol.OnlineStore`."""

    @abstractmethod
    def _store(self) -> OnlineStore:
        """Returns that store, for one call."""

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._store().read(keys)

    def write(
        self,
        values: Iterable[tuple[bytes, bytes]],
        marks: Marks = NO_MARKS,
        expected: Mapping[str, bytes | None] = NO_EXPECTATIONS,
    ) -> None:
        self._store().write(values, marks, expected)

    def mark(self, name: str) -> bytes | None:
        return self._store().mark(name)

    def remove(self, generation: bytes) -> None:
        self._store().remove(generation)

    def close(self) -> None:
        self._store().close()


class TimedStore(_Forwarding):
    """A store of which a request reads nothing more once it has waited for too long."""

    def __init__(self, store: OnlineStore, seconds: float):
        """Takes for how long all of a request's reads may wait; the last of them has its own limit, the store's."""
        self._timed, self._seconds, self._request = store, seconds, threading.local()

    def _store(self) -> OnlineStore:
        return self._timed

    @contextmanager
    def request(self) -> Iterator[None]:
        """Makes the reads of this thread those of one request."""
        self._request.left = self._seconds
        try:
            yield
        finally:
            del self._request.left

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._waiting():
            return self._timed.read(keys)

    def mark(self, name: str) -> bytes | None:
        with self._waiting():
            return self._timed.mark(name)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        # What is computed between two reads is no fault of the store's.
        left, start = getattr(self._request, "left", float("inf")), time.monotonic()
        if left <= 0:
            raise StoreUnavailableError(f"the request has waited for it for {self._seconds:g} s")
        try:
            yield
        finally:
            self._request.left = left - (time.monotonic() - start)
