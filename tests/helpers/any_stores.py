"""What tests do to a store of whichever backend, from below."""

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable, Mapping
from functools import partial

from serving.store import redis as redis_backend
from serving.store.memory import MemoryStore
from serving.store.opening import open_store
from serving.store.protocol import OnlineStore
from serving.store.redis import RedisStore

# How the end of a transaction goes to a Redis server.
EXEC = b"*1\r\n$4\r\nEXEC\r\n"
VALUE = b"fulcrum:value:"


def contents(store: OnlineStore) -> dict[bytes, bytes]:
    """Returns all values by key."""
    if isinstance(store, MemoryStore):
        return dict(store._values)
    if isinstance(store, RedisStore):
        keys = list(store._client.scan_iter(match=VALUE + b"*", count=1_000))
        return {key.removeprefix(VALUE): value for key, value in zip(keys, store._client.mget(keys), strict=True)}
    with store._transaction("BEGIN") as connection:
        return dict(connection.execute("SELECT key, value FROM entries"))


def refill(store: OnlineStore, values: Mapping[bytes, bytes], marks: Mapping[str, bytes]) -> None:
    """Makes a store hold these and nothing else."""
    if isinstance(store, MemoryStore):
        store._values, store._marks = {}, {}
    elif isinstance(store, RedisStore):
        store._client.flushdb()
    else:
        with store._transaction("BEGIN IMMEDIATE") as connection:
            for table in ("entries", "collisions", "marks"):
                connection.execute(f"DELETE FROM {table}")
    store.write(values.items(), marks)


def kill_at_commit(url: str, run: Callable[[OnlineStore], None], number: int, after: bool) -> bool:
    """Runs something with a store of SQLite or Redis in a process that is killed at the n-th commit of a write.

    Args:
      after: whether the commit is done and its answer isn't read any more, else all but the commit is done.

    Returns:
      Whether there were as many commits.
    """
    process = multiprocessing.get_context("fork").Process(target=_run, args=(url, run, number, after))
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _run(url: str, run: Callable[[OnlineStore], None], number: int, after: bool) -> None:
    commits = 0

    def is_last() -> bool:
        nonlocal commits
        commits += 1
        return commits == number

    if url.startswith("sqlite:"):
        sqlite3.connect = partial(sqlite3.connect, factory=_sqlite_connection(is_last, after))
    else:
        connection = redis_backend.redis.connection.Connection
        connection.send_packed_command = _redis_send(connection.send_packed_command, is_last, after)
    run(open_store(url, timeout_seconds=20))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _sqlite_connection(is_last: Callable[[], bool], after: bool) -> type[sqlite3.Connection]:
    class Connection(sqlite3.Connection):
        writes = False

        def execute(self, statement, *arguments):
            if statement.startswith("BEGIN"):
                self.writes = statement == "BEGIN IMMEDIATE"
            dies = statement == "COMMIT" and self.writes and is_last()
            if dies and not after:
                _die()
            result = super().execute(statement, *arguments)
            if dies:
                _die()
            return result

    return Connection


def _redis_send(send: Callable, is_last: Callable[[], bool], after: bool) -> Callable:
    def send_some(connection, command, check_health=True):
        data = b"".join([command] if isinstance(command, bytes) else command)
        if not data.endswith(EXEC) or not is_last():
            return send(connection, command, check_health)
        send(connection, [data if after else data.removesuffix(EXEC)], check_health)
        return _die()

    return send_some
