"""Transformed examples from TFRecords on disk to dense batches of one static size."""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from models.features import dense, transformed_feature_spec
from schema.columns import label_name, space_name
from schema.spec import RankingSpec

# Examples of one user stand together on disk. This many serialised examples are shuffled at a time.
SHUFFLE_BUFFER = 1 << 18
# Files of up to this many compressed bytes are kept in memory, uncompressed, after the first epoch.
CACHE_MAX_BYTES = 256 << 20
FILES_AT_ONCE = 16
CHUNK = 64
PARALLEL_PARSES = os.cpu_count() or 1


class TrainingDataError(ValueError):
    """Examples that a ranker can't be trained on; the message says which split and what is missing."""


def example_files(patterns: Sequence[str], split: str) -> list[str]:
    """The TFRecord files of a split, sorted.

    Raises:
      TrainingDataError: there are none.
    """
    files = sorted({file for pattern in patterns for file in tf.io.gfile.glob(pattern)})
    if not files:
        raise TrainingDataError(f"the {split} split has no files: nothing matches {', '.join(patterns)}")
    return files


def serialized_examples(files: Sequence[str]) -> tf.data.Dataset:
    """The serialised examples of gzipped TFRecords, several files at once; their order depends on the files alone."""
    chunks = tf.data.Dataset.from_tensor_slices(list(files)).interleave(
        # Handing over single records between threads takes as long as decompressing them.
        lambda file: tf.data.TFRecordDataset(file, compression_type="GZIP", buffer_size=8 << 20).batch(CHUNK),
        cycle_length=min(FILES_AT_ONCE, len(files)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    if sum(tf.io.gfile.stat(file).length for file in files) <= CACHE_MAX_BYTES:
        chunks = chunks.cache()
    return chunks.unbatch()


def batches(
    records: tf.data.Dataset,
    spec: RankingSpec,
    batch_size: int,
    shuffle_seed: int | None = None,
    worker: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Dense batches of exactly `batch_size`; what the last lacks is filled with examples outside every sample space.

    For one of several replicas a batch is its equal part of such a batch. Every worker reads all records, in the same
    order, and parses the parts of its own replicas, one after another: what is in a batch, and how many there are, does
    not depend on the workers, and no file has to be cut to their number.

    Args:
      records: serialised examples (`serialized_examples`).
      shuffle_seed: the order that the examples come in; None leaves them as they are.
      worker: which worker reads; None for the only one, of one replica.
    """
    if shuffle_seed is not None:
        records = records.shuffle(SHUFFLE_BUFFER, seed=shuffle_seed, reshuffle_each_iteration=False)
    serialized = records.batch(batch_size)
    if worker is not None and worker.num_replicas_in_sync > 1:
        serialized = _parts(serialized, batch_size, worker)
        batch_size = worker.get_per_replica_batch_size(batch_size)
    parse = _parser(spec.to_json(), batch_size)
    parsed = serialized.map(parse, num_parallel_calls=PARALLEL_PARSES, deterministic=True)
    return parsed.prefetch(2 * PARALLEL_PARSES)


def blank_batch(spec: RankingSpec) -> dict[str, tf.Tensor]:
    """A batch of examples without anything, outside every sample space."""
    return next(iter(batches(tf.data.Dataset.from_tensors(""), spec, spec.training.batch_size)))


def _parts(serialized: tf.data.Dataset, batch_size: int, worker: tf.distribute.InputContext) -> tf.data.Dataset:
    """From batches to the parts of them that the worker's replicas get."""
    replicas = worker.num_replicas_in_sync // worker.num_input_pipelines
    first = worker.input_pipeline_id * replicas

    def cut(batch: tf.Tensor) -> tf.Tensor:
        filled = tf.pad(batch, [[0, batch_size - tf.size(batch)]], constant_values="")
        return tf.reshape(filled, [worker.num_replicas_in_sync, -1])[first : first + replicas]

    return serialized.map(cut).unbatch()


@functools.lru_cache(maxsize=4)
def _parser(spec_json: str, batch_size: int) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Parses serialised examples; traced once and not anew for the data set of every epoch."""
    spec = RankingSpec.from_json(spec_json)
    parsed_spec = transformed_feature_spec(spec)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        serialized = tf.pad(serialized, [[0, batch_size - tf.size(serialized)]], constant_values="")
        features = dense(tf.io.parse_example(serialized, parsed_spec), spec)
        return {name: tf.ensure_shape(value, [batch_size, *value.shape[1:]]) for name, value in features.items()}

    return parse


@dataclass(frozen=True)
class LabelSummary:
    """A task's labels in its sample space: how many there are, their mean, and the smallest and largest."""

    count: int
    mean: float
    low: float
    high: float


def label_summaries(records: tf.data.Dataset, spec: RankingSpec, split: str) -> tuple[int, dict[str, LabelSummary]]:
    """The number of examples, and each task's labels.

    Raises:
      TrainingDataError: the split is empty.
    """
    columns = {
        name: tf.io.FixedLenFeature([], tf.float32)
        for task in spec.tasks
        for name in (label_name(task), space_name(task))
    }

    def summarise(state: tf.Tensor, serialized: tf.Tensor) -> tf.Tensor:
        parsed = tf.io.parse_example(serialized, columns)
        labels = tf.stack([parsed[label_name(task)] for task in spec.tasks])
        within = tf.stack([parsed[space_name(task)] for task in spec.tasks]) > 0
        # (tasks, batch) -> (tasks, 5): examples, examples of the space, and the sum, least and largest of their labels
        return tf.stack(
            [
                state[:, 0] + tf.cast(tf.size(serialized), tf.float64),
                state[:, 1] + tf.reduce_sum(tf.cast(within, tf.float64), axis=1),
                state[:, 2] + tf.cast(tf.reduce_sum(tf.where(within, labels, 0.0), axis=1), tf.float64),
                tf.minimum(
                    state[:, 3], tf.cast(tf.reduce_min(tf.where(within, labels, float("inf")), axis=1), tf.float64)
                ),
                tf.maximum(
                    state[:, 4], tf.cast(tf.reduce_max(tf.where(within, labels, -float("inf")), axis=1), tf.float64)
                ),
            ],
            axis=1,
        )

    start = tf.constant([[0.0, 0.0, 0.0, float("inf"), -float("inf")]] * len(spec.tasks), tf.float64)
    state = records.batch(4096).prefetch(2).reduce(start, summarise).numpy()
    examples = int(state[0, 0])
    if examples == 0:
        raise TrainingDataError(f"the {split} split is empty: no examples in its files")
    return examples, {
        task.name: LabelSummary(int(row[1]), float(row[2] / row[1]) if row[1] else 0.0, float(row[3]), float(row[4]))
        for task, row in zip(spec.tasks, state, strict=True)
    }


def check_labels(summaries: dict[str, LabelSummary], split: str) -> list[str]:
    """What is wrong with the labels, one line a task: nothing in the sample space, or nothing to tell apart."""
    problems = []
    for name, labels in summaries.items():
        if labels.count == 0:
            problems.append(f"task {name!r} has no example in its sample space in the {split} split")
        elif labels.low == labels.high:
            problems.append(
                f"task {name!r} has only labels of {labels.low:g} in the {split} split ({labels.count} examples)"
            )
    return problems
