"""Load on a model server: requests sent over and over by several clients at once, and how long the answers take."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving.client import Client, ClientError


@dataclass(frozen=True)
class Load:
    """Says what a load test measured.

    Attributes:
      latencies: seconds from sending a request to its answer's bytes, float64 `[answered]`, as the answers came.
      sent: when each was sent, seconds since the start, `[answered]`.
      failures: the error of each failed request.
      seconds: of the whole test.
    """

    latencies: np.ndarray
    sent: np.ndarray
    failures: list[str]
    seconds: float

    @property
    def qps(self) -> float:
        """Returns answers per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Returns seconds; NaN without an answer."""
        return float(np.percentile(self.latencies, percent)) if len(self.latencies) else float("nan")


@dataclass
class _Shared:
    """Shared by the clients of a test: the next request's number, and what they have measured."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    next: int = 0
    answered: list[tuple[float, float]] = field(default_factory=list)  # when sent, and the latency
    failures: list[str] = field(default_factory=list)


def drive(
    connect: Callable[[], Client],
    prepared: Sequence[Any],
    concurrency: int = 1,
    requests: int | None = None,
    seconds: float | None = None,
    rate: float | None = None,
    stop_at_failures: int = 100,
) -> Load:
    """Sends `prepared` requests in turn, from `concurrency` clients, each of which waits for its answer.

    Ends after `requests` of them or `seconds`, whichever is first (at least one is required), or when
    `stop_at_failures` have failed. With `rate`, no more than so many are sent a second, evenly. Preparing requests and
    reading the answers' tensors is not part of a latency.
    """
    if requests is None and seconds is None:
        raise ValueError("expected a number of requests, or of seconds, got neither")
    shared = _Shared()
    start = time.perf_counter()
    deadline = float("inf") if seconds is None else start + seconds
    limit = float("inf") if requests is None else requests

    def run() -> None:
        with connect() as client:
            while time.perf_counter() < deadline:
                with shared.lock:
                    number = shared.next
                    if number >= limit or len(shared.failures) >= stop_at_failures:
                        return
                    shared.next += 1
                if rate is not None:
                    time.sleep(max(0.0, start + number / rate - time.perf_counter()))
                sent = time.perf_counter()
                try:
                    client.send(prepared[number % len(prepared)])
                except ClientError as error:
                    shared.failures.append(str(error))
                    continue
                shared.answered.append((sent - start, time.perf_counter() - sent))

    threads = [threading.Thread(target=run, name=f"load-{i}") for i in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - start
    sent, latencies = np.array(shared.answered, np.float64).reshape(-1, 2).T
    return Load(latencies, sent, shared.failures, spent)
