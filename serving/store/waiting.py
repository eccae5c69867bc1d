"""Stores that nobody waits for too long: one that need not be there yet, and one whose requests have a deadline."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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


class LateStore(_Forwarding):
    """A store that is opened by the first call that finds it."""

    def __init__(self, open_it: Callable[[], OnlineStore]):
        """Takes what opens it, or raises StoreError."""
        self._open, self._opening = open_it, threading.Lock()
        self._opened: OnlineStore | None = None

    def _store(self) -> OnlineStore:
        if self._opened is None:
            # Of many that ask at once, one waits for a server that is silent.
            if not self._opening.acquire(blocking=False):
                raise StoreUnavailableError("the store isn't there yet")
            try:
                self._opened = self._opened or self._open()
            finally:
                self._opening.release()
        return self._opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()


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
