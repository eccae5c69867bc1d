"""What an online store is to its readers and writers: four methods on keys and values of bytes.

A key begins with its generation and a slash, and a generation is removed as a whole. Marks are few and small, and have
names of their own: which generation is current, how far a stream has been counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeAlias

# The longest key, in bytes: of two ids of a statistic by both, too.
MAX_KEY_BYTES = 4_096

Marks: TypeAlias = Mapping[str, bytes]
NO_MARKS: Marks = MappingProxyType({})
NO_EXPECTATIONS: Mapping[str, bytes | None] = MappingProxyType({})


class StoreError(Exception):
    """Something that a store can't do as asked; the message says of which store, and why."""


class StoreUnavailableError(StoreError):
    """A store that is down, or that has not answered in time."""


class KeySizeError(StoreError):
    """A key that is longer than `MAX_KEY_BYTES`."""


class ConflictError(StoreError):
    """A write that another writer was faster than: a mark is no longer what was expected. Nothing was written."""


class OnlineStore(Protocol):
    """A store that many threads and processes read at once. All methods raise StoreError."""

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Returns the value of each key, None where there is none; all of one moment, in one round trip.

        Raises:
          KeySizeError: a key is longer than `MAX_KEY_BYTES`.
        """
        ...

    def write(
        self,
        values: Iterable[tuple[bytes, bytes]],
        marks: Marks = NO_MARKS,
        expected: Mapping[str, bytes | None] = NO_EXPECTATIONS,
    ) -> None:
        """Writes values and marks in one transaction: readers see all of it or nothing.

        Args:
          expected: what marks must still be for anything to be written; None is a mark that isn't there.

        Raises:
          ConflictError: one of the `expected` marks is another.
          KeySizeError: a key is longer than `MAX_KEY_BYTES`; nothing was written.
        """
        ...

    def mark(self, name: str) -> bytes | None:
        """Returns a mark, None where there is none."""
        ...

    def remove(self, generation: bytes) -> None:
        """Removes all keys of a generation, not at once; readers go on meanwhile."""
        ...

    def close(self) -> None:
        """Lets go of files and connections."""
        ...


def check_keys(keys: Iterable[bytes]) -> None:
    """Refuses keys that are too long.

    Raises:
      KeySizeError: a key is longer than `MAX_KEY_BYTES`.
    """
    for key in keys:
        if len(key) > MAX_KEY_BYTES:
            raise KeySizeError(f"key {key[:60]!r}…: has {len(key):,} bytes, expected at most {MAX_KEY_BYTES:,}")


def check_expected(marks: Mapping[str, bytes | None], expected: Mapping[str, bytes | None]) -> None:
    """Compares marks with what they were expected to be.

    Raises:
      ConflictError: one of them is another.
    """
    for name, value in expected.items():
        if marks.get(name) != value:
            raise ConflictError(f"mark {name!r}: another writer has changed it meanwhile")
