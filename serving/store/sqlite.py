"""`sqlite:///path`, the embedded store: one file, many readers in several processes and one writer at a time.

An INTEGER PRIMARY KEY is found several times faster than a blob, so that the key is a 64-bit hash, and the key itself
stands beside the value and is compared. Keys that share a hash with an earlier one lie in a table of their own.
"""

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from serving.store.protocol import (
    NO_EXPECTATIONS,
    NO_MARKS,
    Marks,
    StoreError,
    StoreUnavailableError,
    check_expected,
    check_keys,
)

_TABLES = """
CREATE TABLE IF NOT EXISTS entries (hash INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS collisions (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""
_WRITE = (
    "INSERT INTO entries VALUES (?, ?, ?) ON CONFLICT (hash) DO UPDATE SET value = excluded.value "
    "WHERE key = excluded.key"
)
_WRITE_FREE = "INSERT INTO entries VALUES (?, ?, ?) ON CONFLICT (hash) DO NOTHING"
_WRITE_COLLISION = "INSERT INTO collisions VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_WRITE_MARK = "INSERT INTO marks VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
# Fewer than the variables that a statement of any build of SQLite may have.
_KEYS_A_STATEMENT = 30_000
# How many ranges of hashes are removed one after the other, so that a writer gets in between.
_RANGES = 64
# Instructions of SQLite between two looks at the clock.
_INSTRUCTIONS = 20_000

_Entry: TypeAlias = tuple[int, bytes, bytes]


class SqliteStore:
    """A file; see `serving.store.protocol.OnlineStore`."""

    def __init__(self, path: str | Path, timeout_seconds: float, create: bool):
        """Opens the file.

        Raises:
          StoreError: there is none and it isn't to be created, or can't be, or it is no such store.
        """
        self._path, self._timeout = Path(path), timeout_seconds
        if create:
            self._make_folder()
        elif not self._path.is_file():
            raise StoreError(f"{path}: expected a store, which `fulcrum materialize` writes; there is no such file")
        # Of each process that has been forked since, a connection a thread.
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        with self._errors():
            connection = self._connection()
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_TABLES)

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        check_keys(keys)
        by_key: dict[bytes, bytes] = {}
        with self._transaction("BEGIN") as connection:
            for start in range(0, len(keys), _KEYS_A_STATEMENT):
                chunk = keys[start : start + _KEYS_A_STATEMENT]
                hashes = [hash_of(key) for key in chunk]
                marks = ",".join("?" * len(hashes))
                rows = connection.execute(f"SELECT hash, key, value FROM entries WHERE hash IN ({marks})", hashes)
                stored: dict[int, tuple[bytes, bytes]] = {number: (key, value) for number, key, value in rows}
                for key, number in zip(chunk, hashes, strict=True):
                    if number not in stored:
                        continue
                    stored_key, value = stored[number]
                    collided = None if stored_key == key else _collided(connection, key)
                    if stored_key == key or collided is not None:
                        by_key[key] = value if collided is None else collided
        return [by_key.get(key) for key in keys]

    def write(
        self,
        values: Iterable[tuple[bytes, bytes]],
        marks: Marks = NO_MARKS,
        expected: Mapping[str, bytes | None] = NO_EXPECTATIONS,
    ) -> None:
        entries = [(hash_of(key), key, value) for key, value in values]
        check_keys(key for _, key, _ in entries)
        with self._transaction("BEGIN IMMEDIATE") as connection:
            check_expected({name: _mark(connection, name) for name in expected}, expected)
            changes = connection.total_changes
            connection.executemany(_WRITE, entries)
            if connection.total_changes - changes < len(entries):
                _write_collisions(connection, entries)
            connection.executemany(_WRITE_MARK, marks.items())

    def mark(self, name: str) -> bytes | None:
        with self._transaction("BEGIN") as connection:
            return _mark(connection, name)

    def remove(self, generation: bytes) -> None:
        first, last = generation + b"/", generation + b"0"
        with self._transaction("BEGIN IMMEDIATE", patient=True) as connection:
            connection.execute("DELETE FROM collisions WHERE key >= ? AND key < ?", (first, last))
        step = 2**64 // _RANGES
        for number in range(_RANGES):
            low = -(2**63) + number * step
            with self._transaction("BEGIN IMMEDIATE", patient=True) as connection:
                connection.execute(
                    "DELETE FROM entries WHERE hash BETWEEN ? AND ? AND key >= ? AND key < ?",
                    (low, low + step - 1, first, last),
                )
                _take_free_hashes(connection)

    def close(self) -> None:
        for connection in self._open:
            connection.close()
        self._open.clear()
        self._local = threading.local()

    def _make_folder(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self._path}: can't be made, since {error.filename} can't: {error.strerror}; expected a path in a "
                "folder that is there or can be made"
            ) from None

    def _connection(self) -> sqlite3.Connection:
        pid, connection = getattr(self._local, "opened", (None, None))
        if connection is None or pid != os.getpid():
            # Closed by whichever thread closes the store.
            connection = sqlite3.connect(
                self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            # Of a power failure the last transactions may be lost, but not parts of them.
            connection.execute("PRAGMA synchronous = NORMAL")
            self._local.opened = os.getpid(), connection
            self._open.append(connection)
        return connection

    @contextmanager
    def _transaction(self, begin: str, patient: bool = False) -> Iterator[sqlite3.Connection]:
        """Yields the thread's connection within a transaction, which is rolled back where something goes wrong."""
        with self._errors():
            connection = self._connection()
            limit = time.monotonic() + self._timeout
            connection.set_progress_handler(None if patient else lambda: time.monotonic() > limit, _INSTRUCTIONS)
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.set_progress_handler(None, 0)
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StoreUnavailableError(f"{self._path}: {error}") from None
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self._path}: {error}; expected a store that `fulcrum materialize` has written"
            ) from None


def hash_of(key: bytes) -> int:
    """Returns the signed 64 bits by which a key is found."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big", signed=True)


def _mark(connection: sqlite3.Connection, name: str) -> bytes | None:
    row = connection.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _collided(connection: sqlite3.Connection, key: bytes) -> bytes | None:
    row = connection.execute("SELECT value FROM collisions WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def _write_collisions(connection: sqlite3.Connection, entries: Sequence[_Entry]) -> None:
    """Writes the entries whose hash another key has."""
    for number, key, value in entries:
        (stored,) = connection.execute("SELECT key FROM entries WHERE hash = ?", (number,)).fetchone()
        if stored != key:
            connection.execute(_WRITE_COLLISION, (key, value))


def _take_free_hashes(connection: sqlite3.Connection) -> None:
    """Moves keys whose hash no other key has any more to where they are looked for first.

    A key is looked for among the collisions only beside another key of its hash, so that one that is nowhere costs no
    second search.
    """
    for key, value in connection.execute("SELECT key, value FROM collisions").fetchall():
        if connection.execute(_WRITE_FREE, (hash_of(key), key, value)).rowcount:
            connection.execute("DELETE FROM collisions WHERE key = ?", (key,))
