"""`memory:`, a store within one process: for trying things out and for tests."""

import threading
from collections.abc import Iterable, Mapping, Sequence

from serving.store.protocol import NO_EXPECTATIONS, NO_MARKS, Marks, check_expected, check_keys


class MemoryStore:
    """A dictionary; see `serving.store.protocol.OnlineStore`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[bytes, bytes] = {}
        self._marks: dict[str, bytes] = {}

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        check_keys(keys)
        with self._lock:
            return [self._values.get(key) for key in keys]

    def write(
        self,
        values: Iterable[tuple[bytes, bytes]],
        marks: Marks = NO_MARKS,
        expected: Mapping[str, bytes | None] = NO_EXPECTATIONS,
    ) -> None:
        written = dict(values)
        check_keys(written)
        with self._lock:
            check_expected(self._marks, expected)
            self._values.update(written)
            self._marks.update(marks)

    def mark(self, name: str) -> bytes | None:
        with self._lock:
            return self._marks.get(name)

    def remove(self, generation: bytes) -> None:
        prefix = generation + b"/"
        with self._lock:
            self._values = {key: value for key, value in self._values.items() if not key.startswith(prefix)}

    def close(self) -> None:
        """Does nothing."""
