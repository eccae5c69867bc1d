"""How fast a ranker trains from TFRecords on disk, and whether reading keeps up.

`python -m benchmarks.training`: examples/s of reading alone and of whole epochs (disk to optimiser step), for each way
of compiling, with small and with large embedding tables, in bfloat16, and with every sequence as long as the longest.
Each is run in turn, several times, and its fastest counts.
Expected: reading alone at least 3 times as fast as the fastest training.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

import schema
from models.features import RAGGED_VALUES, table_sizes
from models.kinds import kind_of
from models.length_groups import Lengths
from models.ranker import Compiled, Ranker
from models.training import reading
from models.training.optimizer import LazyAdam
from models.training.step import training_function
from schema.columns import label_name, model_columns, space_name
from schema.loading import load_spec
from schema.spec import RankingSpec

READING_OVER_TRAINING = 3.0
SPEC = Path(schema.__file__).parent / "specs" / "shortvideo.yaml"
FILES = 4
REPEATS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=65_536)
    parser.add_argument("--users", type=int, default=1_000_000, help="rows of the large user table")
    options = parser.parse_args()
    spec = load_spec(SPEC)
    small, large = vocabularies(spec, 5_000), vocabularies(spec, options.users)
    with tempfile.TemporaryDirectory() as directory:
        write_examples(spec, small, options.examples, Path(directory))
        files = reading.example_files([f"{directory}/*"], "train")
        lengths = reading.sequence_lengths(reading.serialized_examples(files), spec)
        # A step, and the lengths by which its sequences are grouped.
        steps: dict[str, tuple[Callable, Lengths]] = {"reading alone": (lambda batch: None, lengths)}
        rounded = spec.model_copy(update={"training": spec.training.model_copy(update={"precision": "bfloat16"})})
        cases: list[tuple[str, RankingSpec, dict[str, int], Compiled]] = [
            ("small tables, step compiled", spec, small, "step"),
            ("small tables, head compiled", spec, small, "head"),
            ("small tables, nothing compiled", spec, small, "nothing"),
            ("large tables, step compiled", spec, large, "step"),
            ("large tables, head compiled", spec, large, "head"),
            ("bfloat16, step compiled", rounded, small, "step"),
            ("bfloat16, nothing compiled", rounded, small, "nothing"),
        ]
        for name, trained, sizes, compiled in cases:
            steps[name] = compiled_step(trained, sizes, compiled, files, lengths), lengths
        steps["padded sequences, step compiled"] = compiled_step(spec, small, "step", files), ()
        runs = [{name: timed(files, spec, *step) for name, step in steps.items()} for _ in range(REPEATS)]
    wall, cpu = ({name: options.examples / min(run[name][i] for run in runs) for name in steps} for i in (0, 1))
    print(f"{'':<32} {'examples/s':>12} {'per CPU s':>12}")
    for name in steps:
        print(f"{name:<32} {wall[name]:>12,.0f} {cpu[name]:>12,.0f}")
    ratio = wall["reading alone"] / max(value for name, value in wall.items() if name != "reading alone")
    figures = {"examples_per_second": {name: round(value) for name, value in wall.items()}}
    print(json.dumps({**figures, "reading_over_training": round(ratio, 2)}))
    if ratio < READING_OVER_TRAINING:
        print(f"reading is {ratio:.2f} times as fast as training, expected {READING_OVER_TRAINING}", file=sys.stderr)
        return 1
    return 0


def vocabularies(spec: RankingSpec, users: int) -> dict[str, int]:
    names = {column.vocabulary for column in model_columns(spec) if column.vocabulary}
    return {name: {"user_id": users, "item_id": users // 2}.get(name, 100) for name in names}


def write_examples(spec: RankingSpec, sizes: dict[str, int], count: int, directory: Path) -> None:
    """Writes examples as Transform leaves them: sequences of half their longest on average, ids by a power law."""
    random = np.random.default_rng(0)
    lengths = {behaviour.name: behaviour.max_length for behaviour in spec.behaviours}
    rows = table_sizes(spec, sizes)
    counts = {name: random.integers(0, length + 1, count) for name, length in lengths.items()}
    arrays: dict[str, pa.Array] = {}
    for column in model_columns(spec):
        size = np.ones(count, int)
        if column.ragged:
            size = counts[column.behaviour] if column.behaviour else random.integers(0, 5, count)
        size = size * (column.model_width or 1)
        offsets = np.concatenate([[0], np.cumsum(size)]).astype(np.int32)
        total, table = int(offsets[-1]), kind_of(column).table(column)
        if table is None:
            values = pa.array(random.exponential(0.5, total).astype(np.float32))
        else:
            values = pa.array((rows[table] * random.random(total) ** 3).astype(np.int64))
        name = column.name + (RAGGED_VALUES if column.ragged else "")
        arrays[name] = pa.ListArray.from_arrays(offsets, values)
    single = np.arange(count + 1, dtype=np.int32)
    for task in spec.tasks:
        space = (random.random(count) < (0.5 if task.within else 1.0)).astype(np.float32)
        label = space * (random.random(count) if task.is_regression else random.random(count) < 0.1)
        for name, target in ((label_name(task), label), (space_name(task), space)):
            arrays[name] = pa.ListArray.from_arrays(single, pa.array(target.astype(np.float32)))
    batch = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
    per_file = -(-count // FILES)
    for i in range(FILES):
        with tf.io.TFRecordWriter(str(directory / f"examples-{i}.gz"), "GZIP") as writer:
            for record in RecordBatchToExamplesEncoder(None).encode(batch.slice(i * per_file, per_file)):
                writer.write(record)


def timed(files: list[str], spec: RankingSpec, step: Callable, lengths: Lengths) -> tuple[float, float]:
    """Returns the wall and CPU seconds of one epoch as the trainer does it, from the files on."""
    wall, cpu = time.perf_counter(), time.process_time()
    records = reading.serialized_examples(files)
    for batch in reading.batches(records, spec, spec.training.batch_size, shuffle_seed=1, lengths=lengths):
        step(batch)
    return time.perf_counter() - wall, time.process_time() - cpu


def compiled_step(
    spec: RankingSpec, sizes: dict[str, int], compiled: Compiled, files: list[str], lengths: Lengths = ()
) -> Callable:
    """Returns the training step of a new ranker, compiled for batches whose sequences are grouped by these lengths."""
    tf.keras.utils.set_random_seed(1)
    model = Ranker(spec, table_sizes(spec, sizes), compiled=compiled, sparse_tables=compiled == "head")
    model.compile(optimizer=LazyAdam(spec.training.learning_rate))
    records = reading.serialized_examples(files)
    model(reading.blank_batch(spec))
    step = training_function(model)
    step(next(iter(reading.batches(records, spec, spec.training.batch_size, 1, lengths=lengths))))
    return step


if __name__ == "__main__":
    sys.exit(main())
