"""How fast a served model ranks: `rank` against full examples, the server against a call in process, and hot swaps.

`python -m benchmarks.serving`: trains a small ranker on simulated logs (or takes `--model`), serves it by
`fulcrum serve` in a process of its own, and sends it rank requests of people in the logs. What is compared is sent in
turns, by one client. With `--store` something else is measured (`benchmarks.serving_store`). Expected:
- `rank` of 500 candidates at least twice as fast as `serving_default` of the same 500 as full examples, p50 and p99;
- the server's p50 over gRPC less than 25 % above that of the same SavedModel called in process, at 500 candidates;
- while ten new versions appear under load no request fails, and p99 while they are swapped is below 3 times the usual.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from benchmarks import serving_store
from benchmarks.served_model import SPEC, Server, full_examples, serve, stage, train
from pipeline.cli.load_test import recorded_requests
from schema.loading import load_spec
from schema.spec import RankingSpec
from serving.client import Client
from serving.load import Load, drive
from serving.requests import examples_request, exponents, with_exponents

FULL_OVER_RANK, SERVER_OVER_PROCESS, SWAP_OVER_USUAL = 2.0, 1.25, 3.0
CANDIDATES, COMPARED = (1, 100, 500, 2_000), 500
PERCENTILES = (50, 95, 99)
# Requests of one kind before the next kind has its turn; the first of them find cold caches and busy threads.
TURN, SETTLING = 50, 5
SWAPS, SWAP_SECONDS, RATE, CLIENTS = 10, 3.0, 40.0, 4

Requests = Sequence[dict[str, np.ndarray]]
Table = dict[str, dict[int, float]]  # what was measured -> percentile -> milliseconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a SavedModel's folder, in place of a new small one")
    parser.add_argument("--spec", type=Path, default=SPEC, help="of --model")
    parser.add_argument("--logs", help="of --model")
    parser.add_argument("--requests", type=int, default=1_000, help="of each kind that is compared")
    parser.add_argument("--store", action="store_true", help="requests of ids, completed from an online store, instead")
    parser.add_argument("--write", type=Path, help="a Markdown file for the tables")
    options = parser.parse_args()
    if options.model and not options.logs:
        parser.error("--model needs the --logs that requests are made from")
    spec = load_spec(options.spec)
    with tempfile.TemporaryDirectory() as directory:
        saved, logs = (options.model, options.logs) if options.model else train(Path(directory))
        if options.store:
            spec_file = options.spec if options.model else Path(directory, "spec.yaml")
            return serving_store.run(spec, spec_file, saved, logs, Path(directory, "stores"), options.requests)
        *recorded, compared = recorded_requests(spec, logs, [*CANDIDATES, COMPARED], users=20)
        served, staged = Path(directory, "served"), Path(directory, "staged")
        served.mkdir()
        stage(spec, saved, staged / "1", compared).rename(served / "1")
        with serve(served) as server:
            by_kind = compare(spec, server, saved, compared, options.requests)
            by_count = {
                (count, protocol): latency_and_rate(server.connects[protocol], requests, options.requests)
                for count, requests in zip(CANDIDATES, recorded, strict=True)
                for protocol in server.connects
            }
            # Beforehand, for the load's clients are in this process.
            versions = [stage(spec, saved, staged / str(n + 2), compared[:5]) for n in range(SWAPS)]
            usual, swapping, swap_load = hot_swaps(server, versions, served, compared)
    figures, short = verdict(by_kind, usual, swapping, swap_load)
    text = "\n".join(report(by_kind, by_count, usual, swapping, swap_load))
    print(text)
    if options.write:
        options.write.write_text(text + "\n")
    print(json.dumps(figures))
    for line in short:
        print(line, file=sys.stderr)
    return 1 if short else 0


def compare(spec: RankingSpec, server: Server, saved: Path, requests: Requests, count: int) -> dict[str, np.ndarray]:
    """Returns the seconds of each request by what was asked: the same users and candidates in every way, in turns."""
    powers = exponents(spec, {})
    signature = tf.saved_model.load(str(saved)).signatures["rank"]

    def in_process(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = {name: tf.constant(array) for name, array in columns.items()}
        return {name: tensor.numpy() for name, tensor in signature(**tensors).items()}

    ranked = [with_exponents(columns, powers) for columns in requests]
    examples = [examples_request(full_examples(spec, columns)) for columns in requests]
    with ExitStack() as stack:
        grpc, rest = (stack.enter_context(server.connects[protocol]()) for protocol in ("gRPC", "REST"))
        ways: dict[str, tuple[Callable, list]] = {
            "rank, in process": (in_process, ranked),
            "rank, gRPC": (grpc.send, [grpc.prepare("rank", request) for request in ranked]),
            "rank, REST": (rest.send, [rest.prepare("rank", request) for request in ranked]),
            "full examples, gRPC": (grpc.send, [grpc.prepare("serving_default", request) for request in examples]),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(-1, -(-count // TURN)):
            for name, (ask, requests) in ways.items():
                places = range(turn * TURN - SETTLING, (turn + 1) * TURN)
                taken = [timed(ask, requests[i % len(requests)]) for i in places][SETTLING:]
                # The first turn warms up.
                seconds[name] += taken if turn >= 0 else []
    return {name: np.array(taken) for name, taken in seconds.items()}


def timed(ask: Callable, request: object) -> float:
    start = time.perf_counter()
    ask(request)
    return time.perf_counter() - start


def latency_and_rate(connect: Callable[[], Client], requests: Requests, count: int) -> tuple[Load, Load]:
    """Returns one client's latencies, and how many requests a second `CLIENTS` of them get answered."""
    with connect() as client:
        prepared = [client.prepare("rank", columns) for columns in requests]
    drive(connect, prepared, requests=TURN)
    alone = drive(connect, prepared, requests=count, seconds=30)
    return alone, drive(connect, prepared, concurrency=CLIENTS, requests=2 * count, seconds=10)


def hot_swaps(
    server: Server, versions: Sequence[Path], served: Path, requests: Requests
) -> tuple[np.ndarray, np.ndarray, Load]:
    """Returns seconds of requests sent while nothing changes, and while one version replaces another; and the load."""
    connect = server.connects["gRPC"]
    with connect() as client:
        prepared = [client.prepare("rank", columns) for columns in requests]
    loads: list[Load] = []
    total = (SWAPS + 4) * SWAP_SECONDS
    start = time.time()
    load = threading.Thread(target=lambda: loads.append(drive(connect, prepared, 1, seconds=total, rate=RATE)))
    load.start()
    for i, version in enumerate(versions):
        time.sleep(max(0.0, start + (i + 4) * SWAP_SECONDS - time.time()))
        version.rename(served / version.name)
        server.wait("version unloaded", int(version.name) - 1)
    load.join()
    (result,) = loads
    sent = start + result.sent
    changing = np.zeros(len(sent), bool)
    for begin, end in swap_windows(server.events):
        changing |= (sent >= begin) & (sent <= end)
    return result.latencies[~changing], result.latencies[changing], result


def swap_windows(events: Sequence[dict]) -> Iterator[tuple[float, float]]:
    """Yields when a version begins to be loaded, and when the one before it is unloaded, in seconds since 1970."""
    at = {(event["event"], event.get("version")): moment(event["time"]) for event in events}
    for version in range(2, SWAPS + 2):
        yield at["loading", version], at["version unloaded", version - 1]


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def verdict(
    by_kind: dict[str, np.ndarray], usual: np.ndarray, swapping: np.ndarray, load: Load
) -> tuple[dict[str, float], list[str]]:
    """Returns the figures, and what is short of what is expected."""

    def ratio(numerator: str, denominator: str, percent: float) -> float:
        return float(np.percentile(by_kind[numerator], percent) / np.percentile(by_kind[denominator], percent))

    figures = {
        "full_over_rank_p50": ratio("full examples, gRPC", "rank, gRPC", 50),
        "full_over_rank_p99": ratio("full examples, gRPC", "rank, gRPC", 99),
        "grpc_over_process_p50": ratio("rank, gRPC", "rank, in process", 50),
        "rest_over_process_p50": ratio("rank, REST", "rank, in process", 50),
        "swap_over_usual_p99": float(np.percentile(swapping, 99) / np.percentile(usual, 99)),
        "failed_during_swaps": float(len(load.failures)),
    }
    short = [
        f"{name} is {figures[name]:.2f}, expected at least {FULL_OVER_RANK}"
        for name in ("full_over_rank_p50", "full_over_rank_p99")
        if figures[name] < FULL_OVER_RANK
    ]
    most = {
        "grpc_over_process_p50": SERVER_OVER_PROCESS,
        "swap_over_usual_p99": SWAP_OVER_USUAL,
    }
    short += [
        f"{name} is {figures[name]:.2f}, expected below {most[name]}" for name in most if figures[name] >= most[name]
    ]
    if load.failures:
        short.append(f"{len(load.failures)} requests failed during swaps: {load.failures[0]}")
    return {name: round(value, 3) for name, value in figures.items()}, short


def report(
    by_kind: dict[str, np.ndarray],
    by_count: dict[tuple[int, str], tuple[Load, Load]],
    usual: np.ndarray,
    swapping: np.ndarray,
    load: Load,
) -> Iterator[str]:
    """Yields the tables' lines, in Markdown."""
    percentiles = " | ".join(f"p{percent} ms" for percent in PERCENTILES)
    yield "# Serving: what was measured"
    yield ""
    yield (
        f"By `python -m benchmarks.serving --write docs/serving-results.md` on {os.cpu_count()} cores ({processor()}), "
        f"TensorFlow {tf.__version__}: client and server on the same machine, the local server, a small ranker of the "
        "short-video spec. A latency is from sending a request that is ready to the last byte of its answer."
    )
    yield ""
    yield f"## The same {COMPARED} candidates, asked for in turns by one client"
    yield ""
    yield f"| | requests | {percentiles} |"
    yield "|---|---:|" + "---:|" * len(PERCENTILES)
    for name, seconds in by_kind.items():
        yield f"| {name} | {len(seconds):,} | {milliseconds(seconds)} |"
    yield ""
    yield "In process is the SavedModel's signature under TensorFlow's Python, from NumPy arrays to NumPy arrays."
    yield ""
    yield f"## By number of candidates: latency with one client, requests a second with {CLIENTS}"
    yield ""
    yield f"| candidates | protocol | {percentiles} | per second |"
    yield "|---:|---|" + "---:|" * len(PERCENTILES) + "---:|"
    for (count, protocol), (alone, together) in by_count.items():
        yield f"| {count:,} | {protocol} | {milliseconds(alone.latencies)} | {together.qps:,.0f} |"
    yield ""
    yield f"## Hot swap: {SWAPS} new versions under {RATE:g} requests a second of {COMPARED} candidates, gRPC"
    yield ""
    yield f"| | requests | {percentiles} |"
    yield "|---|---:|" + "---:|" * len(PERCENTILES)
    for name, seconds in (("between swaps", usual), ("while a version is swapped", swapping)):
        yield f"| {name} | {len(seconds):,} | {milliseconds(seconds)} |"
    yield ""
    yield f"{len(load.failures)} of {len(load.latencies) + len(load.failures):,} requests failed."


def milliseconds(seconds: np.ndarray) -> str:
    return " | ".join(f"{np.percentile(seconds, percent) * 1000:.2f}" for percent in PERCENTILES)


def processor() -> str:
    """Returns the processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
