"""How fast each routing trains and scores at equal size, against the peers, and what DTRN costs.

`python -m benchmarks.routing_speed --peers-python PYTHON`:

- PLE on Census-Income against the peers' PLE: the same sizes, columns, batch and epochs, taking turns in one run; the
  fastest epoch of each counts. Expected: twice the faster peer's examples/s (three times is the goal) at its AUC. The
  peers train by Adam at a constant 1e-3, on arrays in memory. Fulcrum's AUC is of `benchmarks.census`, its speed that
  of the product's training step on the same batches in memory, as theirs: buckets beside the numbers, which make its
  input wider than theirs, a falling rate and averaged weights are in it. What it trains at from disk stands below.
- Every routing at that size, with its towers, compiled, on inputs in memory: examples/s of a step of Adam and of
  scoring, and the share of the measured matmul peak.
- A ranker of each bottom, taking turns: 4 tasks, 3 behaviours of up to 50 positions. Expected: DTRN's step takes at
  most twice the plain one's.
"""

import argparse
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

import numpy as np
import tensorflow as tf

from benchmarks import arrays, census, census_data, census_training, expectations, peers, picture
from benchmarks.arrays import Splits
from benchmarks.census import BUCKETS, RECIPE, SHAPE, shown
from benchmarks.census_data import NUMERIC, TASKS
from benchmarks.training import SPEC, compiled_step, vocabularies, write_examples
from models.bottom import BOTTOMS
from models.layers import Towers
from models.routing import ROUTINGS, check_routing
from models.training import reading
from models.training.averaging import WeightAverages
from models.training.build import build_ranker
from models.training.step import training_function
from schema.loading import load_spec
from schema.spec import RankingSpec

ROUNDS = 3
REPEATS = 4
# Of one batch's inputs, which are seen again and again.
STEPS = 64
# Batches in memory.
BATCHES = 64
PEAK_SIZE = 2048


def main() -> int:
    options = arguments()
    expected = expectations.load("routing_speed")
    splits = census_data.load(options.data, BUCKETS)
    peak = matmul_peak()
    print(f"float32 matmul peak, {PEAK_SIZE} x {PEAK_SIZE}: {peak / 1e9:,.0f} GFLOP/s on {os.cpu_count()} cores\n")
    figures: dict[str, Any] = {"matmul_peak_gflops": round(peak / 1e9)}
    short: list[str] = []
    tables: list[str] = []
    for measured in options.parts:
        lines, part_figures, part_short = PARTS[measured](options, splits, peak, expected)
        print("\n".join([*lines, ""]), flush=True)
        tables += [*lines, ""]
        figures |= part_figures
        short += part_short
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        (options.write / "routing_speed.md").write_text("\n".join(tables))
        (options.write / "routing_speed.json").write_text(json.dumps(figures, indent=1) + "\n")
        if speeds := figures.get("examples_per_second"):
            (options.write / "routing_speed.svg").write_text(drawn(speeds))
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
    parser.add_argument("--write", type=Path, help="a directory for the tables, the picture and the JSON")
    options = parser.parse_args()
    for routing in options.routings:
        check_routing(routing)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"--parts: expected some of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    return options


def against_peers(
    options: argparse.Namespace, splits: Splits, peak: float, expected: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any], list[str]]:
    """Measures PLE at the peers' size, and the peers; returns a table, the figures, and what falls short.

    They take turns, so that a slow minute of a shared machine is not one model's alone: each round has a ratio of its
    own, and the median of the rounds counts.
    """
    theirs = peers.trainers(options.peers_python, options.peers, peers.PEERS, RECIPE.epochs)
    from_disk: list[float] = []

    def train(seed: int) -> list[dict]:
        (record,) = census.train(splits, "ple", seed)
        from_disk.append(record["examples_per_second"])
        return [{**record, "examples_per_second": round(speed_in_memory(splits))}]

    speed, aucs, peaks = take_turns({"fulcrum": train, **theirs})
    lines = [f"| PLE, Census-Income | examples/s, {ROUNDS} rounds | test AUC, " + " / ".join(TASKS) + " |"]
    lines.append("|---|---:|---:|")
    for name, rounds in speed.items():
        by_round = ", ".join(f"{value:,.0f}" for value in rounds)
        lines.append(f"| {name} | {by_round} | {' / '.join(shown(aucs[name]).split())} |")
    share = float(np.median(speed["fulcrum"] / peaks)) * RoutedTowers("ple", input_width(splits)).flops_per_example()
    lines += ["", f"Fulcrum's step runs at {share:.0%} of the float32 matmul peak, the median of the rounds."]
    lines.append(f"From disk, examples parsed in every epoch, it trains on {np.median(from_disk):,.0f} examples/s.")
    figures: dict[str, Any] = {
        "ple_examples_per_second": {name: rounds.tolist() for name, rounds in speed.items()},
        "ple_examples_per_second_from_disk": from_disk,
        "ple_test_auc": aucs,
        "ple_share_of_peak": round(share, 3),
    }
    short = []
    if theirs:
        faster = max(theirs, key=lambda name: float(np.median(speed[name])))
        ratios = (speed["fulcrum"] / speed[faster]).round(2)
        ratio = float(np.median(ratios))
        figures["ple_over_faster_peer"] = ratios.tolist()
        lines.append(f"{ratio:.2f} times the faster peer, {faster}: the median of {', '.join(map(str, ratios))}.")
        if ratio < expected["ple_over_faster_peer"]:
            short.append(f"PLE is {ratio:.2f} times as fast as {faster}, expected {expected['ple_over_faster_peer']}")
        for task, ours, rival in zip(TASKS, aucs["fulcrum"], aucs[faster], strict=True):
            if ours < rival - expected["auc_tolerance"]:
                short.append(f"PLE, {task}: AUC {ours:.4f}, {faster} {rival:.4f}")
    return lines, figures, short


def speed_in_memory(splits: Splits) -> float:
    """Returns the examples/s of the product's training step, its moving average too, on batches that are parsed."""
    tf.keras.backend.clear_session()
    spec = census_training.census_spec(splits, SHAPE, RECIPE)
    rows = splits.train.part(slice(BATCHES * RECIPE.batch_size))
    with tempfile.TemporaryDirectory() as directory:
        arrays.write_examples(rows, spec, Path(directory) / "train.gz")
        records = reading.serialized_examples([f"{directory}/train.gz"])
        batches = list(reading.batches(records, spec, RECIPE.batch_size))
    steps = RECIPE.epochs * len(splits.train) // RECIPE.batch_size
    model = build_ranker(spec, splits, steps=steps)  # type: ignore[arg-type]
    step = training_function(model, WeightAverages.of(model))

    def epoch() -> None:
        for batch in batches:
            loss = step(batch)
        loss.numpy()

    return len(rows) / fastest(epoch)


def take_turns(
    trainers: Mapping[str, Callable[[int], list[dict]]],
) -> tuple[dict[str, np.ndarray], dict[str, list[float]], np.ndarray]:
    """Runs each trainer once a round; returns examples/s of the fastest epoch by round, the mean test AUC by task, and
    the matmul peak by round.
    """
    speed: dict[str, list[float]] = {name: [] for name in trainers}
    aucs: dict[str, list[list[float]]] = {name: [] for name in trainers}
    peaks = []
    for seed in range(1, ROUNDS + 1):
        peaks.append(matmul_peak())
        for name, trainer in trainers.items():
            epochs = trainer(seed)
            speed[name].append(max(epoch["examples_per_second"] for epoch in epochs))
            aucs[name].append(census.best_epoch(epochs)["test"])
        measured = "  ".join(f"{name} {rounds[-1]:,.0f}" for name, rounds in speed.items())
        print(f"round {seed}: {measured} examples/s", flush=True)
    means = {name: np.mean(rounds, axis=0).tolist() for name, rounds in aucs.items()}
    return {name: np.array(rounds) for name, rounds in speed.items()}, means, np.array(peaks)


def every_routing(
    options: argparse.Namespace, splits: Splits, peak: float, expected: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any], list[str]]:
    """Measures training and scoring of each routing at the peers' sizes."""
    lines = ["| routing | weights | training, examples/s | of the matmul peak | scoring, examples/s |"]
    lines.append("|---|---:|---:|---:|---:|")
    figures = {}
    inputs = tf.random.stateless_normal([RECIPE.batch_size, input_width(splits)], seed=(1, 0))
    labels = tf.constant(splits.train.labels[: RECIPE.batch_size])
    for routing in options.routings:
        tf.keras.backend.clear_session()
        tf.keras.utils.set_random_seed(1)
        model = RoutedTowers(routing, input_width(splits))
        step, score = model.training_step(), tf.function(model.__call__, jit_compile=True)
        trained, scored = (
            STEPS * RECIPE.batch_size / fastest(functools.partial(repeated, run))
            for run in (functools.partial(step, inputs, labels), functools.partial(score, inputs))
        )
        share = trained * model.flops_per_example() / peak
        lines.append(f"| {routing} | {model.weights():,} | {trained:,.0f} | {share:.0%} | {scored:,.0f} |")
        figures[routing] = {"training": round(trained), "scoring": round(scored), "share_of_peak": round(share, 3)}
    return lines, {"examples_per_second": figures}, []


def input_width(splits: Splits) -> int:
    """Returns how many numbers the ranker of Census-Income hands to its routing."""
    # A number comes with whether it is missing.
    return len(splits.sizes) * SHAPE.embedding_dim + 2 * len(NUMERIC)


class RoutedTowers(tf.Module):
    """A routing and its towers at the peers' sizes: `(batch, width)` -> logits `(batch, tasks)`."""

    def __init__(self, routing: str, width: int):
        super().__init__()
        factory = check_routing(routing)
        # A routing with tables of each task's own reads its own embeddings of the same inputs.
        self.inputs = {"shared": 1, "own": len(TASKS), "own_and_shared": len(TASKS) + 1}[factory.tables]
        self.routing, self.towers = factory.build(SHAPE, len(TASKS)), Towers(len(TASKS), SHAPE.tower_units)
        self(tf.zeros([1, width]))

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        routed = self.routing(inputs if self.inputs == 1 else [inputs] * self.inputs)
        return tf.concat(self.towers(routed), axis=-1)

    def training_step(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        """Returns the compiled step of Adam on the tasks' cross-entropy; it returns the loss."""
        optimizer = tf.keras.optimizers.Adam(jit_compile=False)
        optimizer.build(self.trainable_variables)

        @tf.function(jit_compile=True)
        def step(inputs: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, self(inputs)))
            gradients = tape.gradient(
                loss, self.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return loss

        return step

    def weights(self) -> int:
        return sum(int(np.prod(variable.shape)) for variable in self.trainable_variables)

    def flops_per_example(self) -> int:
        """Returns the floating-point operations of a training step's matmuls: a multiplication and an addition per
        weight, forwards and for each of the two gradients. Biases aren't matmuls.
        """
        kernels = (variable for variable in self.trainable_variables if "kernel" in variable.name)
        return 6 * sum(int(np.prod(kernel.shape)) for kernel in kernels)


def repeated(run: Callable[[], tf.Tensor]) -> None:
    for _ in range(STEPS):
        last = run()
    last.numpy()  # waits for it


def dtrn_cost(
    options: argparse.Namespace, splits: Splits, peak: float, expected: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any], list[str]]:
    """Measures, in turns, the training step of a ranker of each bottom: 4 tasks, 3 behaviours of up to 50 positions."""
    steps: dict[str, Callable] = {}
    with tempfile.TemporaryDirectory() as directory:
        spec = four_tasks("plain")
        sizes, size = vocabularies(spec, 5_000), spec.training.batch_size
        write_examples(spec, sizes, 4 * size, Path(directory))
        files = reading.example_files([f"{directory}/*"], "train")
        records = reading.serialized_examples(files)
        lengths = reading.sequence_lengths(records, spec)
        batches = list(reading.batches(records, spec, size, 1, lengths=lengths))
        for bottom in BOTTOMS:
            steps[bottom] = compiled_step(four_tasks(bottom), sizes, "step", files, lengths)

    def epoch(step: Callable) -> None:
        for batch in batches:
            loss = step(batch)
        loss.numpy()

    rounds = [
        {bottom: fastest(functools.partial(epoch, step), 2) / len(batches) for bottom, step in steps.items()}
        for _ in range(REPEATS)
    ]
    seconds = {bottom: min(turn[bottom] for turn in rounds) for bottom in steps}
    ratio = float(np.median([turn["dtrn"] / turn["plain"] for turn in rounds]))
    lines = ["| bottom, 4 tasks, 3 behaviours of up to 50 | ms a step |", "|---|---:|"]
    lines += [f"| {bottom} | {1e3 * value:.1f} |" for bottom, value in seconds.items()]
    lines += ["", f"DTRN's step takes {ratio:.2f} times the plain bottom's, the median of {REPEATS} rounds."]
    most = expected["dtrn_over_plain_at_most"]
    short = [] if ratio <= most else [f"DTRN's step takes {ratio:.2f} times the plain one's, expected at most {most}"]
    return lines, {"dtrn_over_plain": round(ratio, 2)}, short


def drawn(speeds: Mapping[str, Mapping[str, float]]) -> str:
    """Returns each routing's speed of training and of scoring, as SVG."""
    return picture.intervals(
        {
            f"{activity}, thousands of examples/s": {
                name: np.array([speed[activity] / 1e3]) for name, speed in speeds.items()
            }
            for activity in ("training", "scoring")
        },
        zero=True,
    )


def four_tasks(bottom: str) -> RankingSpec:
    """Returns the short-video spec with 4 of its tasks and its 3 behaviours, each of 50 positions."""
    declared = json.loads(load_spec(SPEC).to_json())
    declared["tasks"] = declared["tasks"][:4]
    declared["gates"] = {}
    declared["behaviours"] = [{**behaviour, "max_length": 50} for behaviour in declared["behaviours"]]
    declared["model"] = {**declared.get("model", {}), "bottom": bottom}
    return RankingSpec.model_validate(declared)


def matmul_peak() -> float:
    """Returns the floating-point operations a second of a large float32 matmul."""
    a, b = (tf.random.stateless_normal([PEAK_SIZE, PEAK_SIZE], seed=(seed, 0)) for seed in (1, 2))
    return 2 * PEAK_SIZE**3 / fastest(lambda: tf.matmul(a, b).numpy(), repeats=8)


def fastest(run: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Returns the seconds of the fastest of several runs, the first of which compiles."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


PARTS = {"peers": against_peers, "routings": every_routing, "dtrn": dtrn_cost}


if __name__ == "__main__":
    sys.exit(main())
