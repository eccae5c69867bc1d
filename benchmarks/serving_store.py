"""How fast a gateway with an online store answers requests of ids, what it takes to fill the store, and what fails.

`python -m benchmarks.serving --store` for each backend: 500 candidates, the short-video spec's five statistics and
three behaviours, client and server on this machine. Expected:
- one client: p50 at most 10 ms and p99 at most 15 ms; several: at least 100 requests a second;
- the server's memory after all `--requests` (100,000 for the goal) as it was after the first half of them;
- no request fails while ten model versions and ten generations come, nor while Redis is started anew (`--degrade`);
- `update` counts 5,000 events a second into SQLite and 20,000 into Redis, in batches.
"""

import csv
import gzip
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from benchmarks.command import fulcrum
from benchmarks.served_model import NAME, Server, serve, stage
from pipeline.cli.load_test import id_requests
from pipeline.online.gateway import StoreCompleting
from pipeline.online.updater import Updater
from schema.columns import ITEM_ID, USER_ID
from schema.spec import RankingSpec
from serving.gateway.completing import IdRequest
from serving.load import Load, drive
from serving.store.opening import open_store

P50_MS, P99_MS, PER_SECOND = 10.0, 15.0, 100.0
EVENTS_PER_SECOND = {"sqlite": 5_000, "redis": 20_000}
# What a process may grow by, in MB: pools of memory that fill.
GROWTH_MB = 32.0
CANDIDATES, CLIENTS, USERS, BATCH, SWAPS, RATE = 500, 4, 200, 2_000, 10, 20.0
# One client sends half of the requests, but no more than these; several send the others.
MOST_ALONE = 5_000
# After how many requests the server's memory is told, beside after half of them and all.
LOOKED_AT = (1_000, 10_000, 50_000, 100_000)
# Seconds that Redis is away.
AWAY = 2.0


@dataclass
class Measured:
    """What was measured of one backend."""

    alone: Load
    together: Load
    # What the server has in memory, in MB, by the number of requests that it has answered.
    resident_mb: dict[int, float]
    events_per_second: float
    disturbed: dict[str, Load] = field(default_factory=dict)
    degraded: int = 0

    @property
    def growth_mb(self) -> float:
        """Returns what the server's memory grew by in the second half of the requests."""
        last = max(self.resident_mb)
        return self.resident_mb[last] - self.resident_mb[last // 2]


def run(spec: RankingSpec, spec_file: Path, saved: Path, logs: str, folder: Path, requests: int) -> int:
    """Measures each backend, prints a table and a JSON line, and returns the exit code."""
    backends: list[str] = ["sqlite"]
    if shutil.which("redis-server"):
        backends.append("redis")
    else:
        print("Redis isn't measured: there is no redis-server", file=sys.stderr)
    measured = {
        backend: measure(spec, spec_file, saved, logs, folder / backend, backend, requests) for backend in backends
    }
    print("\n".join(report(measured)))
    figures, short = verdict(measured)
    print(json.dumps(figures))
    for line in short:
        print(line, file=sys.stderr)
    return 1 if short else 0


def measure(
    spec: RankingSpec, spec_file: Path, saved: Path, logs: str, folder: Path, backend: str, requests: int
) -> Measured:
    """Fills a store, serves before it, and measures."""
    folder.mkdir(parents=True)
    served, staged = folder / "served", folder / "staged"
    served.mkdir()
    days = days_of(spec, logs)
    with Stores(backend, folder) as stores:

        def generation(until: date) -> None:
            where = ("--logs", logs, "--output", folder / "run", "--store", stores.url)
            fulcrum("materialize", spec_file, *where, "--until", until, "--grace", "1")

        generation(days[-2])
        (request_inputs,) = id_requests(spec, logs, [CANDIDATES], users=USERS)
        completing = StoreCompleting(spec, open_store(stores.url, timeout_seconds=30))
        warm_up = [completed(completing, inputs) for inputs in request_inputs[:5]]
        stage(spec, saved, staged / "1", warm_up).rename(served / "1")
        versions = [stage(spec, saved, staged / str(number + 2), warm_up) for number in range(SWAPS)]
        with serve(served, "--store", stores.url, "--degrade", "--store-timeout", "2") as server:
            alone, together, resident = latency(server, request_inputs, requests)
            disturbed = {
                "model versions": while_(server, request_inputs, lambda: swap_versions(server, versions, served)),
                "generations": while_(server, request_inputs, lambda: swap_generations(generation, days)),
            }
            if backend == "redis":
                disturbed["Redis anew"] = while_(server, request_inputs, stores.start_anew)
            degraded = counter(server, 'fulcrum_store_requests_total{outcome="degraded"}')
        rate = events_per_second(spec, logs, stores.url, days[-1])
    return Measured(alone, together, resident, rate, disturbed, degraded)


def completed(completing: StoreCompleting, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns a request of ids with all that the model reads."""
    items = [item.decode() for item in inputs[ITEM_ID].tolist()]
    return completing.complete(IdRequest(inputs[USER_ID].item().decode(), items)).inputs


def latency(server: Server, request_inputs: Sequence[dict], requests: int) -> tuple[Load, Load, dict[int, float]]:
    """Returns one client's latencies, several clients' rate, and what the server has in memory after how many."""
    connect = server.connects["gRPC"]
    with connect() as client:
        prepared = [client.prepare("rank", inputs) for inputs in request_inputs]
    # Everybody and every item once.
    drive(connect, prepared, requests=len(prepared))
    first = min(requests // 2, MOST_ALONE)
    resident: dict[int, float] = {}
    loads: dict[int, list[Load]] = {1: [], CLIENTS: []}
    answered = 0
    for stop in sorted({first, requests // 2, requests, *(count for count in LOOKED_AT if count < requests)}):
        clients = 1 if stop <= first else CLIENTS
        loads[clients].append(drive(connect, prepared, clients, requests=stop - answered))
        answered = stop
        resident[stop] = resident_mb(server.process.pid)
        print(f"{stop:,} requests: {resident[stop]:,.1f} MB", file=sys.stderr)
    return joined(loads[1]), joined(loads[CLIENTS]), resident


def joined(loads: Sequence[Load]) -> Load:
    """Returns loads that came one after the other as one."""
    return Load(
        np.concatenate([load.latencies for load in loads]),
        np.concatenate([load.sent for load in loads]),
        [failure for load in loads for failure in load.failures],
        sum(load.seconds for load in loads),
    )


def while_(server: Server, request_inputs: Sequence[dict], disturb: Callable[[], object]) -> Load:
    """Returns an even load of requests for as long as something else is done."""
    connect = server.connects["gRPC"]
    with connect() as client:
        prepared = [client.prepare("rank", inputs) for inputs in request_inputs]
    loads: list[Load] = []
    done = threading.Event()

    def send() -> None:
        while not done.is_set():
            loads.append(drive(connect, prepared, 2, seconds=2.0, rate=RATE))

    load = threading.Thread(target=send)
    load.start()
    try:
        disturb()
    finally:
        done.set()
        load.join()
    return joined(loads)


def swap_versions(server: Server, versions: Sequence[Path], served: Path) -> None:
    for version in versions:
        version.rename(served / version.name)
        server.wait("version unloaded", int(version.name) - 1, seconds=600)


def swap_generations(make: Callable[[date], None], days: Sequence[date]) -> None:
    """Makes generations of two days in turns: each is another than the one before."""
    for number in range(SWAPS):
        make(days[-1 - number % 2])


def days_of(spec: RankingSpec, logs: str) -> list[date]:
    """Returns the last two days of the logs' rows."""
    clock = spec.log.timestamp
    last = max(int(row[str(clock.column)]) for row in rows_of(spec, logs)) // clock.ticks_per_second
    day = date(1970, 1, 1) + timedelta(seconds=last)
    return [day - timedelta(days=1), day]


def rows_of(spec: RankingSpec, logs: str) -> Iterator[dict[str, str]]:
    """Yields the rows of the simulated log."""
    for pattern in spec.log.files:
        for path in sorted(Path(logs).glob(pattern)):
            with gzip.open(path, "rt") as stream:
                yield from csv.DictReader(stream)


def events_per_second(spec: RankingSpec, logs: str, url: str, day: date, seconds: float = 20.0) -> float:
    """Counts the log's rows as events of the days after `day`, batch after batch, for so long at most."""
    column = str(spec.log.timestamp.column)
    rows = sorted(rows_of(spec, logs), key=lambda row: int(row[column]))
    start = (day - date(1970, 1, 1)).days * 86_400 + 86_400
    first = start * spec.log.timestamp.ticks_per_second
    # Ten events a second, as of a site that has just begun.
    step = spec.log.timestamp.ticks_per_second // 10
    lines = [json.dumps({**row, column: first + number * step}).encode() for number, row in enumerate(rows)]
    # The clock is at the last of them: none lies in the future.
    end = (first + len(rows) * step) / spec.log.timestamp.ticks_per_second
    updater = Updater(spec, open_store(url, timeout_seconds=30), lambda: end)
    updater.update(lines[:BATCH])
    counted, begin = 0, time.perf_counter()
    for batch_start in range(BATCH, len(lines) - BATCH + 1, BATCH):
        counted += updater.update(lines[batch_start : batch_start + BATCH]).counted
        if time.perf_counter() - begin > seconds:
            break
    return counted / (time.perf_counter() - begin)


class Stores:
    """The address of a backend; of Redis a server of its own, which keeps what it has on disk."""

    def __init__(self, backend: str, folder: Path):
        """Starts it."""
        self._backend, self._folder = backend, folder
        self.url = f"sqlite://{folder}/store.db"
        if backend == "redis":
            with socket.socket() as listening:
                listening.bind(("127.0.0.1", 0))
                self._port = listening.getsockname()[1]
            self.url = f"redis://127.0.0.1:{self._port}/0"
            self._start()

    def _start(self) -> None:
        keep = ("--save", "", "--appendonly", "yes", "--dir", str(self._folder))
        command = ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", *keep]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("redis-server doesn't listen")

    def start_anew(self) -> None:
        """Ends the server, and starts it again a little later."""
        self._stop()
        time.sleep(AWAY)
        self._start()
        time.sleep(AWAY)

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def __enter__(self) -> "Stores":
        return self

    def __exit__(self, *_: object) -> None:
        if self._backend == "redis":
            self._stop()


def resident_mb(pid: int) -> float:
    """Returns what a process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def counter(server: Server, name: str) -> int:
    """Returns a counter of a server's metrics, 0 where there is none yet."""
    with server.connects["REST"]() as client:
        address = client.address
    text = urllib.request.urlopen(f"{address}/monitoring/prometheus/metrics", timeout=60).read().decode()
    return int(sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)))


def verdict(measured: dict[str, Measured]) -> tuple[dict[str, float], list[str]]:
    """Returns the figures, and what is short of what is expected."""
    figures: dict[str, float] = {}
    short: list[str] = []

    def expect(name: str, value: float, most: float | None = None, least: float | None = None) -> None:
        figures[name] = round(value, 3)
        if most is not None and not value <= most:
            short.append(f"{name} is {value:,.2f}, expected at most {most:,g}")
        if least is not None and not value >= least:
            short.append(f"{name} is {value:,.2f}, expected at least {least:,g}")

    for backend, result in measured.items():
        expect(f"{backend}_p50_ms", result.alone.percentile(50) * 1000, most=P50_MS)
        expect(f"{backend}_p99_ms", result.alone.percentile(99) * 1000, most=P99_MS)
        expect(f"{backend}_per_second", result.together.qps, least=PER_SECOND)
        expect(f"{backend}_growth_mb", result.growth_mb, most=GROWTH_MB)
        expect(f"{backend}_events_per_second", result.events_per_second, least=EVENTS_PER_SECOND[backend])
        failures = [*result.alone.failures, *result.together.failures]
        failures += [failure for load in result.disturbed.values() for failure in load.failures]
        expect(f"{backend}_failed", len(failures), most=0)
        short += [f"{backend}: the first failure: {failures[0]}"] if failures else []
    return figures, short


def report(measured: dict[str, Measured]) -> Iterator[str]:
    """Yields the tables, in Markdown."""
    yield f"{CANDIDATES} candidates by ids, model `{NAME}` and gateway in one process, gRPC, {USERS} users in turns"
    yield ""
    rates = f"per second, {CLIENTS} clients | memory, MB | events a second"
    yield f"| store | requests | p50 ms | p95 ms | p99 ms | {rates} |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for backend, result in measured.items():
        percentiles = " | ".join(f"{result.alone.percentile(percent) * 1000:.2f}" for percent in (50, 95, 99))
        yield (
            f"| {backend} | {len(result.alone.latencies) + len(result.together.latencies):,} | {percentiles} | "
            f"{result.together.qps:,.0f} | {result.growth_mb:+.1f} | {result.events_per_second:,.0f} |"
        )
    yield ""
    counts = sorted({count for result in measured.values() for count in result.resident_mb})
    yield f"| memory, MB, after requests | {' | '.join(f'{count:,}' for count in counts)} |"
    yield "|---|" + "---:|" * len(counts)
    for backend, result in measured.items():
        yield f"| {backend} | {' | '.join(f'{result.resident_mb[count]:,.1f}' for count in counts)} |"
    yield ""
    yield "| store | while | requests | failed | p50 ms | p99 ms | degraded, of all |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for backend, result in measured.items():
        for what, load in result.disturbed.items():
            percentiles = " | ".join(f"{load.percentile(percent) * 1000:.2f}" for percent in (50, 99))
            sent = len(load.latencies) + len(load.failures)
            yield f"| {backend} | {what} | {sent:,} | {len(load.failures)} | {percentiles} | {result.degraded:,} |"
