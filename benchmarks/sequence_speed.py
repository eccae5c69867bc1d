"""How fast PLE trains on behaviour sequences, against the peers' PLE with the same ones; where its step's time goes.

`python -m benchmarks.sequence_speed --peers-python PYTHON`: KuaiRand's training examples as the pipeline makes them.
The peers get the same columns (ids, statistics, three behaviours of what is known of each item) as padded arrays in
memory, the same sizes of embeddings, experts and towers, the same batch and losses, without the spec's ranking loss;
they pool by the mean and train by Adam at a constant rate. Fulcrum trains by the product's loop: examples parsed in
each epoch, ages at positions, masked ids, dropout, decay, metrics and averaged weights are in it. All take turns; each
round has a ratio of its own, and the median counts. Expected: twice the faster peer's examples/s.
"""

import argparse
import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from benchmarks import expectations, peers
from benchmarks.ablation import without_ranking_loss
from benchmarks.data_sets import DATA, kuairand
from benchmarks.prepared import prepare
from models.kinds import kind_of
from models.ranker import Ranker
from models.training import reading
from models.training.averaging import WeightAverages
from models.training.build import build_ranker
from models.training.reading import TrainingData
from models.training.step import training_function
from schema.columns import label_name, model_columns
from schema.modelling import SHARED_ROUTING
from schema.spec import RankingSpec

SCRIPT = Path(__file__).with_name("peer_sequences.py")
ROUNDS = 3
# A peer's first epoch warms up; its fastest counts.
PEER_EPOCHS = 2
# Of each part of a step, on batches that are seen again and again.
REPEATS = 30
BATCHES = 8


def main() -> int:
    options = arguments()
    expected = expectations.load("sequence_speed")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        logs = kuairand(options.data_folder, folder)
        prepared = prepare(logs.spec, logs.folder, folder / logs.name)
        spec = without_ranking_loss(prepared.spec.with_training(routing=SHARED_ROUTING))
        data = reading.read_training_data(prepared.data, spec)
        transform = tft.TFTransformOutput(prepared.data.transform_graph_path)
        serialized = np.array(list(data.train.take(options.examples).as_numpy_iterator()), object)
        records = tf.data.Dataset.from_tensor_slices(serialized)
        trained = Trained(spec, data, transform, records, len(serialized))
        write_arrays(records, spec, trained.model.table_sizes, Path(scratch))
        trainers = {"fulcrum": trained.examples_per_second, **peer_trainers(options.peers_python, Path(scratch))}
        rounds = [{name: train() for name, train in trainers.items()} for _ in range(ROUNDS)]
        parts = trained.parts()
    lines = [f"| PLE, {len(serialized):,} examples of KuaiRand | examples/s, {ROUNDS} rounds |", "|---|---:|"]
    lines += [f"| {name} | {', '.join(f'{turn[name]:,.0f}' for turn in rounds)} |" for name in trainers]
    lines += ["", "| of a step | ms |", "|---|---:|", *(f"| {name} | {ms:.1f} |" for name, ms in parts.items())]
    figures: dict[str, Any] = {"examples_per_second": rounds, "milliseconds": parts}
    short = []
    if len(trainers) > 1:
        ratios = [turn["fulcrum"] / max(turn[name] for name in trainers if name != "fulcrum") for turn in rounds]
        ratio = float(np.median(ratios))
        figures["over_faster_peer"] = round(ratio, 2)
        lines += ["", f"{ratio:.2f} times the faster peer, the median of {', '.join(f'{r:.2f}' for r in ratios)}."]
        if ratio < expected["over_faster_peer"]:
            short.append(
                f"PLE is {ratio:.2f} times as fast as the faster peer, expected {expected['over_faster_peer']}"
            )
    print("\n".join(lines), flush=True)
    return expectations.conclude({"benchmark": "sequence_speed", **figures}, short)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-folder", type=Path, default=DATA, help="has the folder kuairand")
    parser.add_argument("--examples", type=int, default=65_536, help="how many each trains on (65,536)")
    parser.add_argument("--peers-python", type=Path, help="an interpreter with the peers installed")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the examples which the pipeline made")
    return parser.parse_args()


class Trained:
    """A ranker that the product's step trains, epoch by epoch, on examples that are parsed in each."""

    def __init__(
        self,
        spec: RankingSpec,
        data: TrainingData,
        transform: tft.TFTransformOutput,
        records: tf.data.Dataset,
        count: int,
    ):
        self.spec, self.records, self.count, self.epochs = spec, records, count, 0
        self.model = build_ranker(spec, transform, data.labels, data.steps(spec))
        self.lengths = reading.sequence_lengths(data.train, spec)
        self.averages = WeightAverages.of(self.model)
        self.step = training_function(self.model, self.averages)
        self.step(next(iter(self.batches())))

    def batches(self) -> tf.data.Dataset:
        return reading.batches(
            self.records, self.spec, self.spec.training.batch_size, 1 + self.epochs, None, self.lengths
        )

    def examples_per_second(self) -> float:
        """Trains an epoch and returns its examples/s."""
        self.epochs += 1
        start = time.perf_counter()
        run(self.step, self.batches())
        return self.count / (time.perf_counter() - start)

    def parts(self) -> dict[str, float]:
        """Returns the milliseconds of a step and of its parts, each by itself: their sum isn't the step's."""
        batches = list(self.batches().take(BATCHES))
        start = time.perf_counter()
        read = sum(1 for _ in self.batches())
        reading_alone = 1e3 * (time.perf_counter() - start) / read
        encoded = self.model.encode(batches[0])
        compiled = functools.partial(tf.function, jit_compile=self.model.compiled == "step", autograph=False)
        functions: dict[str, Callable] = {
            "the whole step": self.step,
            "embeddings, sequences and their gradients": compiled(self._encoder_gradients),
            "routing, towers and their gradients": compiled(lambda _: routing_gradients(self.model, encoded)),
        }
        if self.averages:
            functions["averaged weights"] = compiled(lambda _: self.averages.update())
        of_step = {name: fastest(function, batches) for name, function in functions.items()}
        return {"reading, on other threads": round(reading_alone, 1), **of_step}

    def _encoder_gradients(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        variables = [variable for encoder in self.model.encoders for variable in encoder.trainable_variables]
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(self.model.encode(batch)))
        return summed(tape.gradient(loss, variables))


def routing_gradients(model: Ranker, encoded: tf.Tensor) -> tf.Tensor:
    variables = [*model.routing.trainable_variables, *model.towers.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(encoded)
        loss = tf.add_n([tf.reduce_sum(tf.square(logit)) for logit in model.towers(model.routing(encoded))])
    return summed(tape.gradient(loss, [*variables, encoded]))


def summed(gradients: Iterable[tf.Tensor | tf.IndexedSlices | None]) -> tf.Tensor:
    """Returns a number that needs all gradients, so that XLA drops none."""
    return tf.add_n([tf.reduce_sum(tf.convert_to_tensor(gradient)) for gradient in gradients if gradient is not None])


def run(step: Callable, batches: Iterable) -> None:
    """Runs a step on every batch, and waits for the last."""
    for batch in batches:
        last = step(batch)
    if last is not None:
        last.numpy()


def fastest(function: Callable, batches: list) -> float:
    """Returns the milliseconds of the fastest of several calls, the first of which compiles."""
    milliseconds = []
    for repeat in range(REPEATS + 1):
        start = time.perf_counter()
        run(function, [batches[repeat % len(batches)]])
        milliseconds.append(1e3 * (time.perf_counter() - start))
    return round(min(milliseconds), 1)


def peer_trainers(python: Path | None, folder: Path) -> dict[str, Callable[[], float]]:
    """Returns how each peer is trained, to its examples/s; where they can't be, nothing, and prints why."""
    reason = peers.missing(python)
    if python is None or reason:
        print(f"PEERS SKIPPED: {reason}", file=sys.stderr)
        return {}
    return {name: functools.partial(train_peer, python, folder, name) for name in peers.PEERS}


def train_peer(python: Path, folder: Path, name: str) -> float:
    """Trains a peer in its own interpreter, and returns the examples/s of its fastest epoch."""
    lines = peers.run_script(python, SCRIPT, folder, name, PEER_EPOCHS)
    return max(line["examples_per_second"] for line in lines)


def write_arrays(records: tf.data.Dataset, spec: RankingSpec, rows: Mapping[str, int], folder: Path) -> None:
    """Writes the examples as arrays, padded, and what the columns are, for `peer_sequences.py`."""
    size = spec.training.batch_size
    batches = [*reading.batches(records, spec, size).as_numpy_iterator()]
    count = sum(1 for _ in records)
    joined = {name: np.concatenate([batch[name] for batch in batches])[:count] for name in batches[0]}
    arrays: dict[str, np.ndarray] = {}
    columns: list[dict[str, Any]] = []
    for column in model_columns(spec):
        # PyTorch takes no dot in the name of a module.
        name, table = column.name.replace(".", "_"), kind_of(column).table(column)
        values = joined[column.name]
        if table is None:
            # Peers pool ids alone.
            if not column.ragged:
                arrays[name] = np.nan_to_num(values.reshape(count, -1)).astype(np.float32)
                columns.append({"name": name, "table": None, "width": arrays[name].shape[1]})
            continue
        # 0 is what pads.
        arrays[name] = (values + 1).astype(np.int32)
        described = {"name": name, "table": table.replace(".", "_"), "rows": rows[table] + 1}
        if column.ragged:
            length = f"{column.behaviour or name}_length"
            arrays[length] = (values >= 0).sum(axis=1).astype(np.int32)
            described |= {"width": values.shape[1], "length": length}
        columns.append(described)
    labels = np.stack([joined[label_name(task)] for task in spec.tasks], axis=1).astype(np.float32)
    np.savez(folder / "arrays.npz", allow_pickle=False, labels=labels, **arrays)
    model = spec.model
    description = {
        "columns": columns,
        "tasks": [task.name for task in spec.tasks],
        "regressions": [task.is_regression for task in spec.tasks],
        "batch_size": size,
        "model": {
            "embedding": model.embedding_dim,
            "levels": model.levels,
            "task_experts": model.task_experts,
            "shared_experts": model.shared_experts,
            "expert_units": model.expert_units,
            "tower_units": model.tower_units,
        },
    }
    (folder / "columns.json").write_text(json.dumps(description))


if __name__ == "__main__":
    sys.exit(main())
