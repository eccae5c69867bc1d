"""`redis://host:port/db`, a store that many machines share: Redis, Valkey, Dragonfly or what else speaks as they do.

Nothing but MGET, SET, MULTI and EXEC (with WATCH, which belongs to them), SCAN and EXPIRE is asked of the server.
A cluster of servers is none: it refuses to read or write keys of several slots at once.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from serving.store.address import shown
from serving.store.protocol import (
    NO_EXPECTATIONS,
    NO_MARKS,
    ConflictError,
    Marks,
    StoreError,
    StoreUnavailableError,
    check_expected,
    check_keys,
)

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:
    redis = None  # type: ignore[assignment]

_VALUE, _MARK = b"fulcrum:value:", b"fulcrum:mark:"
_KEYS_A_SCAN = 1_000
_SPECIAL = re.compile(rb"([\\*?\[\]^-])")


class RedisStore:
    """A database of a server; see `serving.store.protocol.OnlineStore`."""

    def __init__(self, url: str, timeout_seconds: float):
        """Connects to the server.

        Raises:
          StoreError: the client isn't installed, or the address is none.
          StoreUnavailableError: nobody answers there.
        """
        if redis is None:
            raise StoreError("redis: its client isn't installed; expected `pip install fulcrum-ranking[redis]`")
        self._shown = shown(url)
        try:
            self._client: Any = redis.Redis.from_url(
                url,
                socket_timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
                # After a restart the connections that are kept are dead: once more, on a new one.
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            )
        except ValueError as error:
            raise StoreError(f"{self._shown}: {error}") from None
        self.mark("")

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        check_keys(keys)
        if not keys:
            return []
        with self._errors():
            return self._client.mget([_VALUE + key for key in keys])

    def write(
        self,
        values: Iterable[tuple[bytes, bytes]],
        marks: Marks = NO_MARKS,
        expected: Mapping[str, bytes | None] = NO_EXPECTATIONS,
    ) -> None:
        written = dict(values)
        check_keys(written)
        pipeline: Any
        with self._errors(), self._client.pipeline(transaction=True) as pipeline:
            if expected:
                names = [_MARK + name.encode() for name in expected]
                pipeline.watch(*names)
                check_expected(dict(zip(expected, pipeline.mget(names), strict=True)), expected)
                pipeline.multi()
            for key, value in written.items():
                pipeline.set(_VALUE + key, value)
            for name, value in marks.items():
                pipeline.set(_MARK + name.encode(), value)
            pipeline.execute()

    def mark(self, name: str) -> bytes | None:
        with self._errors():
            (value,) = self._client.mget([_MARK + name.encode()])
            return value

    def remove(self, generation: bytes) -> None:
        pattern = _VALUE + _SPECIAL.sub(rb"\\\1", generation + b"/") + b"*"
        with self._errors():
            cursor = 0
            while True:
                cursor, keys = self._client.scan(cursor, match=pattern, count=_KEYS_A_SCAN)
                with self._client.pipeline(transaction=False) as pipeline:
                    for key in keys:
                        pipeline.expire(key, 0)
                    pipeline.execute()
                if not cursor:
                    return

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except redis.WatchError:
            raise ConflictError(f"{self._shown}: another writer has changed a mark meanwhile") from None
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise StoreUnavailableError(f"{self._shown}: {error}") from None
        except redis.RedisError as error:
            raise StoreError(f"{self._shown}: {error}") from None
