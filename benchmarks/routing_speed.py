"""How fast each routing trains and scores at equal size, against the peers, and what DTRN costs.

`python -m benchmarks.routing_speed --peers-python PYTHON`:

- PLE on Census-Income against the peers' PLE: the same sizes, columns, batch and epochs, in one run; the fastest epoch
  of each counts. Expected: twice the faster peer's examples/s (three times is the goal) at its AUC. The peers train by
  Adam at a constant 1e-3. Fulcrum's recipe is that of `benchmarks.census`: buckets beside the numbers, which make its
  input wider than theirs, a falling rate and averaged weights, all in the time that is measured.
- Every routing at that size: examples/s of training and of scoring, and the share of the measured matmul peak.
- A ranker with the DTRN bottom against the plain one: 4 tasks, 3 behaviours of 50 positions. Expected: at most 6 times
  the step.
"""

import argparse
import dataclasses
import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

from benchmarks import census, census_data, expectations, peers
from benchmarks.census import BUCKETS, SHAPE, auc, shown
from benchmarks.census_data import TASKS, Dataset
from benchmarks.compact import CompactRanker, Training
from benchmarks.training import SPEC, compiled_step, vocabularies, write_examples
from models import reading
from models.routing import ROUTINGS, check_routing
from schema.loading import load_spec
from schema.spec import RankingSpec

RECIPE = dataclasses.replace(census.RECIPE, epochs=3)
CALLS = 4
REPEATS = 4
PEAK_SIZE = 2048


def main() -> int:
    options = arguments()
    expected = expectations.load("routing_speed")
    dataset = census_data.load(options.data, BUCKETS)
    peak = matmul_peak()
    print(f"float32 matmul peak, {PEAK_SIZE} x {PEAK_SIZE}: {peak / 1e9:,.0f} GFLOP/s on {os.cpu_count()} cores\n")
    figures: dict[str, Any] = {"matmul_peak_gflops": round(peak / 1e9)}
    short: list[str] = []
    tables: list[str] = []
    for part in options.parts:
        lines, part_figures, part_short = PARTS[part](options, dataset, peak, expected)
        print("\n".join([*lines, ""]), flush=True)
        tables += [*lines, ""]
        figures |= part_figures
        short += part_short
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        (options.write / "routing_speed.md").write_text("\n".join(tables))
        (options.write / "routing_speed.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))
    for sentence in short:
        print(sentence, file=sys.stderr)
    return 1 if short else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=peers.CENSUS, help="a directory or a zip with census-income.*")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--routings", type=lambda text: text.split(","), default=list(ROUTINGS))
    parser.add_argument("--peers-python", type=Path, help="an interpreter with the peers installed")
    parser.add_argument("--peers", type=Path, default=peers.DIRECTORY, help="the directory of the peers' script")
    parser.add_argument("--write", type=Path, help="a directory for the tables and the JSON")
    options = parser.parse_args()
    for routing in options.routings:
        check_routing(routing)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"--parts: expected some of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    return options


def against_peers(
    options: argparse.Namespace, dataset: Dataset, peak: float, expected: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any], list[str]]:
    """PLE at the peers' size, and the peers: a table, the figures, and what falls short."""
    tf.keras.utils.set_random_seed(1)
    model = CompactRanker("ple", SHAPE, len(TASKS), dataset.table_rows)
    training = Training(model, dataset.train, RECIPE)
    epochs: list[dict[str, Any]] = []
    for _ in range(RECIPE.epochs):
        seconds = training.epoch()
        scores = {split: auc(training, getattr(dataset, split)) for split in ("validation", "test")}
        epochs.append({**scores, "examples_per_second": training.calls * training.rows_per_call / seconds})
    runs = {"fulcrum": epochs}
    reason = peers.missing(options.peers_python, options.peers)
    if reason:
        peers.announce_skipped(reason)
    else:
        for name in peers.PEERS:
            runs[name] = peers.train(options.peers_python, options.peers, name, RECIPE.epochs, seed=1)
    speed = {name: max(epoch["examples_per_second"] for epoch in epochs) for name, epochs in runs.items()}
    best = {name: max(epochs, key=lambda epoch: sum(epoch["validation"]))["test"] for name, epochs in runs.items()}
    share = speed["fulcrum"] * model.flops_per_example() / peak
    lines = ["| PLE, Census-Income | examples/s | test AUC, " + " / ".join(TASKS) + " |", "|---|---:|---:|"]
    lines += [f"| {name} | {speed[name]:,.0f} | {' / '.join(shown(best[name]).split())} |" for name in runs]
    lines += ["", f"Fulcrum's step runs at {share:.0%} of the float32 matmul peak."]
    figures = {"ple_examples_per_second": {name: round(value) for name, value in speed.items()}}
    figures |= {"ple_test_auc": best, "ple_share_of_peak": round(share, 3)}
    short = []
    if not reason:
        faster = max(peers.PEERS, key=lambda name: speed[name])
        ratio = speed["fulcrum"] / speed[faster]
        figures["ple_over_faster_peer"] = round(ratio, 2)
        lines.append(f"{ratio:.2f} times the faster peer ({faster}).")
        if ratio < expected["ple_over_faster_peer"]:
            short.append(f"PLE is {ratio:.2f} times as fast as {faster}, expected {expected['ple_over_faster_peer']}")
        for task, ours, theirs in zip(TASKS, best["fulcrum"], best[faster], strict=True):
            if ours < theirs - expected["auc_tolerance"]:
                short.append(f"PLE, {task}: AUC {ours:.4f}, {faster} {theirs:.4f}")
    return lines, figures, short


def every_routing(
    options: argparse.Namespace, dataset: Dataset, peak: float, expected: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any], list[str]]:
    """Training and scoring of each routing at the peers' sizes."""
    rows = dataset.train.part(slice(CALLS * RECIPE.steps_per_call * RECIPE.batch_size))
    lines = ["| routing | weights | training, examples/s | of the matmul peak | scoring, examples/s |"]
    lines.append("|---|---:|---:|---:|---:|")
    figures = {}
    for routing in options.routings:
        tf.keras.backend.clear_session()
        tf.keras.utils.set_random_seed(1)
        model = CompactRanker(routing, SHAPE, len(TASKS), dataset.table_rows)
        training = Training(model, rows, RECIPE)
        trained = len(rows) / fastest(training.epoch)
        scored = len(rows) / fastest(functools.partial(training.predict, rows))
        share = trained * model.flops_per_example() / peak
        lines.append(f"| {routing} | {model.count_params():,} | {trained:,.0f} | {share:.0%} | {scored:,.0f} |")
        figures[routing] = {"training": round(trained), "scoring": round(scored), "share_of_peak": round(share, 3)}
    return lines, {"examples_per_second": figures}, []


def dtrn_cost(
    options: argparse.Namespace, dataset: Dataset, peak: float, expected: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any], list[str]]:
    """The training step of a ranker of each bottom: 4 tasks, 3 behaviours of 50 positions."""
    seconds = {}
    with tempfile.TemporaryDirectory() as directory:
        for bottom in ("plain", "dtrn"):
            spec = four_tasks(bottom)
            sizes = vocabularies(spec, 5_000)
            if not any(Path(directory).iterdir()):
                write_examples(spec, sizes, 4 * spec.training.batch_size, Path(directory))
            files = reading.example_files([f"{directory}/*"], "train")
            step = compiled_step(spec, sizes, "step", files)
            batches = list(reading.batches(reading.serialized_examples(files), spec, spec.training.batch_size))

            def steps(step=step, batches=batches) -> None:
                for batch in batches:
                    loss = step(batch)
                loss.numpy()

            seconds[bottom] = fastest(steps) / len(batches)
    ratio = seconds["dtrn"] / seconds["plain"]
    lines = ["| bottom, 4 tasks, 3 behaviours of 50 | ms a step |", "|---|---:|"]
    lines += [f"| {bottom} | {1e3 * value:.1f} |" for bottom, value in seconds.items()]
    lines += ["", f"DTRN's step takes {ratio:.2f} times the plain bottom's."]
    most = expected["dtrn_over_plain_at_most"]
    short = [] if ratio <= most else [f"DTRN's step takes {ratio:.2f} times the plain one's, expected at most {most}"]
    return lines, {"dtrn_over_plain": round(ratio, 2)}, short


def four_tasks(bottom: str) -> RankingSpec:
    """The short-video spec with 4 of its tasks and its 3 behaviours, each of 50 positions."""
    given = json.loads(load_spec(SPEC).to_json())
    given["tasks"] = given["tasks"][:4]
    given["gates"] = {}
    given["behaviours"] = [{**behaviour, "max_length": 50} for behaviour in given["behaviours"]]
    given["model"] = {**given.get("model", {}), "bottom": bottom}
    return RankingSpec.model_validate(given)


def matmul_peak() -> float:
    """Floating-point operations a second of a large float32 matmul."""
    a, b = (tf.random.stateless_normal([PEAK_SIZE, PEAK_SIZE], seed=(seed, 0)) for seed in (1, 2))
    return 2 * PEAK_SIZE**3 / fastest(lambda: tf.matmul(a, b).numpy(), repeats=8)


def fastest(run: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Seconds of the fastest of several runs, the first of which compiles."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


PARTS = {"peers": against_peers, "routings": every_routing, "dtrn": dtrn_cost}


if __name__ == "__main__":
    sys.exit(main())
