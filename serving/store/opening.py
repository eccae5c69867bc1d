"""Opens a store by its address."""

from urllib.parse import unquote, urlsplit

from serving.store.address import shown
from serving.store.memory import MemoryStore
from serving.store.protocol import OnlineStore, StoreError
from serving.store.redis import RedisStore
from serving.store.sqlite import SqliteStore

TIMEOUT_SECONDS = 1.0


def open_store(url: str, timeout_seconds: float = TIMEOUT_SECONDS, create: bool = False) -> OnlineStore:
    """Returns the store at `sqlite:///path`, `redis://host:port/db` or `memory:`.

    Args:
      url: `sqlite:path` is relative to the current folder.
      timeout_seconds: how long a read or a write may take.
      create: whether a file that isn't there is made.

    Raises:
      StoreError: the address is none, or there is no such store.
      StoreUnavailableError: the server doesn't answer.
    """
    expected = "expected a store such as sqlite:///var/fulcrum/store.db, redis://localhost:6379/0 or memory:"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise StoreError(f"{expected}, got {shown(url)!r}") from None
    if parts.scheme in ("redis", "rediss", "unix"):
        return RedisStore(url, timeout_seconds)
    if parts.scheme == "memory" and not (parts.netloc or parts.path.strip("/")):
        return MemoryStore()
    if parts.scheme == "sqlite" and not parts.netloc and parts.path:
        path = unquote(parts.path)
        return SqliteStore(f"/{path.lstrip('/')}" if path.startswith("/") else path, timeout_seconds, create)
    raise StoreError(f"{expected}, got {shown(url)!r}")
