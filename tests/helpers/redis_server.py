"""A real `redis-server` of a test's own, on a free port of the loopback."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import redis
except ImportError:
    redis = None

REDIS = shutil.which("redis-server") if redis else None
NO_REDIS = (
    "the store in Redis: there is no redis-server; `make redis` brings it"
    if redis
    else "the store in Redis: its client isn't installed; `make setup` brings it"
)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextmanager
def redis_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """Yields the address of a server that keeps nothing on disk, and that ends with it."""
    port = port or free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = subprocess.Popen([str(REDIS), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_for(port: int, seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while True:
        try:
            with redis.Redis(port=port) as client:
                client.ping()
            return
        except redis.RedisError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.02)
