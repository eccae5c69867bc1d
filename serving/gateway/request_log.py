"""Logs a share of the users' requests with what was made of them, as JSON lines, so that they can be checked later.

A thread of its own writes. An answer waits for nothing: where the disk is too slow requests aren't logged, and where it
can't be written none is; both are counted.
"""

import json
import queue
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from serving.gateway.completing import CompletedRequest, IdRequest

# Requests that wait to be written; of 500 candidates one holds some 200 kB.
_MOST_WAITING = 64
_STOP = None
# How long the end of the server waits for a disk that is stuck.
_PATIENCE_SECONDS = 5.0
# Called with what became of a request: `written`, `dropped` or `failed`.
Count = Callable[[str], None]


class RequestLog:
    """A file of requests, which a second one beside it, `<name>.1`, takes the place of when it is full."""

    def __init__(self, path: Path, share: float, most_bytes: int = 100_000_000):
        """Opens the file, and adds to what is in it.

        Args:
          share: of the users whose requests are logged, in (0, 1]; by a hash, so that a user's all are, or none.
          most_bytes: how large each of the two files may become.

        Raises:
          OSError: it can't be written.
        """
        self._path, self._most_bytes = path, most_bytes
        self._below = round(share * (1 << 32))
        self._file = path.open("ab")
        self._waiting: queue.Queue[tuple[dict[str, Any], Count] | None] = queue.Queue(_MOST_WAITING)
        self._writer = threading.Thread(target=self._write_all, name="requests", daemon=True)
        self._writer.start()

    def takes(self, user: str) -> bool:
        """Returns whether a user is of the share."""
        return zlib.crc32(user.encode()) < self._below

    def add(
        self,
        request: IdRequest,
        completed: CompletedRequest,
        inputs: Mapping[str, np.ndarray],
        degraded: str | None,
        count: Count,
    ) -> None:
        """Hands a request on to the writer, if its user is of the share; never waits, never raises.

        Args:
          inputs: what the store brought and the model reads.
          degraded: why it was answered without the store; None where it was answered from it.
        """
        if not self.takes(request.user):
            return
        record = {
            "user_id": request.user,
            "item_id": list(request.items),
            "given": {name: value for name, value in request.given.items() if value.shape == ()},
            "degraded": degraded,
            "origin": completed.origin,
            "inputs": dict(inputs),
        }
        try:
            self._waiting.put_nowait((record, count))
        except queue.Full:
            count("dropped")

    def close(self) -> None:
        """Writes what waits, for some seconds at most, and closes the file."""
        try:
            self._waiting.put(_STOP, timeout=_PATIENCE_SECONDS)
        except queue.Full:
            return
        self._writer.join(_PATIENCE_SECONDS)
        if not self._writer.is_alive():
            self._file.close()

    def _write_all(self) -> None:
        while (waiting := self._waiting.get()) is not _STOP:
            record, count = waiting
            try:
                record["origin"] = record["origin"]()
                self._write(json.dumps(record, default=_plain).encode() + b"\n")
                count("written")
            except Exception:  # whatever a request holds, and the model may refuse: the next one is written
                count("failed")

    def _write(self, line: bytes) -> None:
        if self._file.closed or self._file.tell() + len(line) > self._most_bytes:
            self._file.close()
            if self._path.exists():
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._path.open("ab")
        self._file.write(line)
        self._file.flush()


def _plain(values: np.ndarray) -> Any:
    """Returns an array as JSON has it: texts as texts, float32 as the number of twice its bits, NaN as null."""
    if values.dtype == object:
        return np.vectorize(lambda text: text.decode(errors="replace"), otypes=[object])(values).tolist()
    if values.dtype.kind == "f":
        wide = values.astype(np.float64).astype(object)
        wide[np.isnan(values)] = None
        return wide.tolist()
    return values.tolist()
