"""How long a warm model takes to answer."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Milliseconds within the process, without a network or a queue."""

    p50_ms: float
    p99_ms: float
    requests: int


def measure(
    calls: Sequence[Callable[[], object]], count: int = 100, warm: int = 5, patience_seconds: float = 20.0
) -> Latency:
    """Makes the `calls` in turn, one after the other: `warm` of them unmeasured, then `count`.

    Stops early, but not before the first is measured, when `patience_seconds` have passed.
    """
    start = time.monotonic()
    for index in range(warm):
        calls[index % len(calls)]()
        if time.monotonic() - start > patience_seconds:
            break
    milliseconds: list[float] = []
    while len(milliseconds) < count and (not milliseconds or time.monotonic() - start < patience_seconds):
        before = time.perf_counter()
        calls[len(milliseconds) % len(calls)]()
        milliseconds.append(1e3 * (time.perf_counter() - before))
    return Latency(float(np.percentile(milliseconds, 50)), float(np.percentile(milliseconds, 99)), len(milliseconds))
