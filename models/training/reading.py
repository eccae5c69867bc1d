"""Transformed examples from TFRecords on disk to dense batches of one static size."""

import functools
import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from models.features import dense, transformed_feature_spec
from models.length_groups import Lengths, SequenceLengths, grouped
from models.tasks import LabelSummary, kind_of
from models.training.grouping import WINDOW, shuffled_by_group, sizes_together, whole_groups
from schema.columns import RANKING_GROUP, label_name, space_name
from schema.spec import RankingSpec

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

# Examples of one user stand together on disk. This many serialised examples are shuffled at a time.
SHUFFLE_BUFFER = 1 << 18
# Files of up to this many compressed bytes are kept in memory, uncompressed, after the first epoch.
CACHE_MAX_BYTES = 256 << 20
FILES_AT_ONCE = 16
CHUNK = 64
# How many serialised examples are looked through at a time.
SCANNED = 4096
PARALLEL_PARSES = os.cpu_count() or 1

_progress = logging.getLogger("fulcrum.progress")


class TrainingDataError(ValueError):
    """Examples that a ranker can't be trained on; the message says which split and what is missing."""


def example_files(patterns: Sequence[str], split: str) -> list[str]:
    """Lists the TFRecord files of a split, sorted.

    Raises:
      TrainingDataError: there are none.
    """
    files = sorted({file for pattern in patterns for file in tf.io.gfile.glob(pattern)})
    if not files:
        raise TrainingDataError(f"the {split} split has no files: nothing matches {', '.join(patterns)}")
    return files


def serialized_examples(files: Sequence[str]) -> tf.data.Dataset:
    """Reads the examples of gzipped TFRecords, several files at once; their order depends on the files alone."""
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
    lengths: Lengths = (),
) -> tf.data.Dataset:
    """Parses examples into dense batches of exactly `batch_size`.

    What the last batch lacks is filled with examples outside every sample space.

    For one of several replicas a batch is its equal part of such a batch. Every worker reads all records, in the same
    order, and parses the parts of its own replicas, one after another: what is in a batch, and how many there are, does
    not depend on the workers, and no file has to be cut to their number.

    Args:
      records: serialised examples (`serialized_examples`).
      shuffle_seed: the order that the examples come in; None leaves them as they are. With a ranking loss those of a
        group come together. Where a batch ends, or a replica's part of it, a group may be cut: its pieces are then
        ordered each by itself.
      worker: which worker reads; None for the only one, of one replica.
      lengths: of `sequence_lengths`; the sequences of these behaviours come grouped (`models.length_groups`).
    """
    if shuffle_seed is not None:
        shuffled = shuffled_by_group if spec.training.ranking_loss else _shuffled
        records = shuffled(records, shuffle_seed)
    serialized = records.batch(batch_size)
    if worker is not None and worker.num_replicas_in_sync > 1:
        serialized = _parts(serialized, batch_size, worker, by_group=spec.training.ranking_loss is not None)
        batch_size = worker.get_per_replica_batch_size(batch_size)
    parse = _parser(spec.to_json(), batch_size, lengths)
    parsed = serialized.map(parse, num_parallel_calls=PARALLEL_PARSES, deterministic=True)
    return parsed.prefetch(2 * PARALLEL_PARSES)


def first_shuffled_batch(
    records: tf.data.Dataset, spec: RankingSpec, batch_size: int, shuffle_seed: int
) -> dict[str, tf.Tensor]:
    """Returns the first batch of `batches(records, spec, batch_size, shuffle_seed)`, holding no buffer of examples.

    Shuffling numbers in the place of the examples tells which ones it would draw first.
    """
    # Later ones enter the buffer after the first batch is drawn.
    drawn_from = records.take(SHUFFLE_BUFFER + batch_size).batch(SCANNED)
    count = drawn_from.reduce(np.int64(0), lambda total, chunk: total + tf.size(chunk, tf.int64))
    order = _shuffled(tf.data.Dataset.range(count), shuffle_seed).take(batch_size)
    numbers = np.fromiter(order.as_numpy_iterator(), np.int64)
    batch = np.empty(len(numbers), object)
    for chunk, serialized in enumerate(drawn_from.as_numpy_iterator()):
        (here,) = np.nonzero(numbers // SCANNED == chunk)
        batch[here] = serialized[numbers[here] % SCANNED]
    return _parser(spec.to_json(), batch_size)(tf.constant(batch, tf.string))


def blank_batch(spec: RankingSpec) -> dict[str, tf.Tensor]:
    """Returns a batch of examples without anything, outside every sample space."""
    return next(iter(batches(tf.data.Dataset.from_tensors(""), spec, spec.training.batch_size)))


def _shuffled(records: tf.data.Dataset, seed: int) -> tf.data.Dataset:
    return records.shuffle(SHUFFLE_BUFFER, seed=seed, reshuffle_each_iteration=False)


def _parts(
    serialized: tf.data.Dataset, batch_size: int, worker: tf.distribute.InputContext, by_group: bool
) -> tf.data.Dataset:
    """Cuts batches into the parts that the worker's replicas get, by group so that few groups are cut."""
    replicas = worker.num_replicas_in_sync // worker.num_input_pipelines
    first = worker.input_pipeline_id * replicas

    def cut(batch: tf.Tensor) -> tf.Tensor:
        filled = tf.pad(batch, [[0, batch_size - tf.size(batch)]], constant_values="")
        if by_group:
            filled = tf.gather(filled, whole_groups(filled, worker.num_replicas_in_sync))
        return tf.reshape(filled, [worker.num_replicas_in_sync, -1])[first : first + replicas]

    return serialized.map(cut).unbatch()


def sequence_lengths(records: tf.data.Dataset, spec: RankingSpec) -> Lengths:
    """Counts, by behaviour, how many examples have sequences of each length, and what comes into a batch with them."""
    columns = {f"{behaviour.name}_age_s": behaviour.max_length for behaviour in spec.behaviours}
    if not columns:
        return ()
    parsed_spec = transformed_feature_spec(spec)
    in_groups = spec.training.ranking_loss is not None

    def add(state: tuple[tf.Tensor, ...], serialized: tf.Tensor) -> tuple[tf.Tensor, ...]:
        parsed = tf.io.parse_example(serialized, {column: parsed_spec[column] for column in columns})
        alone = tf.ones(tf.shape(serialized), tf.float64)
        counted = tf.stack([alone, sizes_together(serialized) if in_groups else alone], axis=1)
        counts = [
            tf.math.unsorted_segment_sum(counted, parsed[column].row_lengths(), size + 1)
            for column, size in columns.items()
        ]
        return tuple(total + count for total, count in zip(state, counts, strict=True))

    start = tuple(tf.zeros([size + 1, 2], tf.float64) for size in columns.values())
    totals = records.batch(WINDOW if in_groups else SCANNED).prefetch(1).reduce(start, add)
    return tuple(
        SequenceLengths(behaviour.name, *(tuple(column) for column in total.numpy().T.tolist()))
        for behaviour, total in zip(spec.behaviours, totals, strict=True)
    )


@functools.lru_cache(maxsize=4)
def _parser(spec_json: str, batch_size: int, lengths: Lengths = ()) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns what parses serialised examples; traced once and not anew for the data set of every epoch."""
    spec = RankingSpec.from_json(spec_json)
    parsed_spec = transformed_feature_spec(spec)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        serialized = tf.pad(serialized, [[0, batch_size - tf.size(serialized)]], constant_values="")
        parsed = tf.io.parse_example(serialized, parsed_spec)
        in_groups = grouped(parsed, spec, batch_size, lengths)
        padded = dense({name: values for name, values in parsed.items() if name not in in_groups}, spec)
        if RANKING_GROUP in padded:
            # Numbers from 0 on, of which a batch has at most as many as examples.
            padded[RANKING_GROUP] = tf.unique(padded[RANKING_GROUP]).idx
        of_batch = {name: tf.ensure_shape(values, [batch_size, *values.shape[1:]]) for name, values in padded.items()}
        return of_batch | in_groups

    return parse


def label_summaries(records: tf.data.Dataset, spec: RankingSpec, split: str) -> tuple[int, dict[str, LabelSummary]]:
    """Counts the examples, and summarises each task's labels.

    Raises:
      TrainingDataError: the split is empty.
    """
    columns = {
        name: tf.io.FixedLenFeature([], tf.float32)
        for task in spec.tasks
        for name in (label_name(task), space_name(task))
    }
    kinds = [kind_of(task) for task in spec.tasks]

    def summarise(state: tf.Tensor, serialized: tf.Tensor) -> tf.Tensor:
        parsed = tf.io.parse_example(serialized, columns)
        labels = tf.stack([parsed[label_name(task)] for task in spec.tasks])
        weights = tf.stack([parsed[space_name(task)] for task in spec.tasks])
        within, weighted_labels = weights > 0, weights * labels
        weights = tf.cast(weights, tf.float64)
        present = tf.unstack(tf.cast(tf.where(within, labels, 0.0), tf.float64))
        scaled = tf.stack([kind.to_loss_scale(values) for kind, values in zip(kinds, present, strict=True)])
        # (tasks, batch) -> (tasks, 8): examples, examples of the space, the sum, least and largest of their labels, on
        # the scale of the loss, where an absent label of 0 is 0 too, their sum and that of their squares, and the sum
        # of the weights, by which the other sums are weighted
        return tf.stack(
            [
                state[:, 0] + tf.cast(tf.size(serialized), tf.float64),
                state[:, 1] + tf.reduce_sum(tf.cast(within, tf.float64), axis=1),
                state[:, 2] + tf.cast(tf.reduce_sum(tf.where(within, weighted_labels, 0.0), axis=1), tf.float64),
                tf.minimum(
                    state[:, 3], tf.cast(tf.reduce_min(tf.where(within, labels, float("inf")), axis=1), tf.float64)
                ),
                tf.maximum(
                    state[:, 4], tf.cast(tf.reduce_max(tf.where(within, labels, -float("inf")), axis=1), tf.float64)
                ),
                state[:, 5] + tf.reduce_sum(weights * scaled, axis=1),
                state[:, 6] + tf.reduce_sum(weights * tf.square(scaled), axis=1),
                state[:, 7] + tf.reduce_sum(weights, axis=1),
            ],
            axis=1,
        )

    start = tf.constant([[0.0, 0.0, 0.0, float("inf"), -float("inf"), 0.0, 0.0, 0.0]] * len(spec.tasks), tf.float64)
    state = records.batch(4096).prefetch(2).reduce(start, summarise).numpy()
    examples = int(state[0, 0])
    if examples == 0:
        raise TrainingDataError(f"the {split} split is empty: no examples in its files")
    return examples, {task.name: _summary(*row[1:].tolist()) for task, row in zip(spec.tasks, state, strict=True)}


def _summary(
    count: float, total: float, low: float, high: float, scale_total: float, scale_squares: float, weight: float
) -> LabelSummary:
    if not count:
        return LabelSummary(0, 0.0, low, high)
    mean = scale_total / weight
    deviation = math.sqrt(max(scale_squares / weight - mean * mean, 0.0))
    return LabelSummary(int(count), total / weight, low, high, mean, deviation)


def check_labels(summaries: dict[str, LabelSummary], split: str) -> list[str]:
    """Lists what is wrong with the labels, one line a task: none in the sample space, or nothing to tell apart."""
    problems = []
    for name, labels in summaries.items():
        if labels.count == 0:
            problems.append(f"task {name!r} has no example in its sample space in the {split} split")
        elif labels.low == labels.high:
            problems.append(
                f"task {name!r} has only labels of {labels.low:g} in the {split} split ({labels.count} examples)"
            )
    return problems


def check_groups(train: tf.data.Dataset) -> None:
    """Raises where the first of the examples says nothing of the group that a ranking loss orders it within.

    Raises:
      TrainingDataError: the examples were transformed by a spec without a ranking loss.
    """
    (first,) = train.take(1).as_numpy_iterator()
    if not tf.train.Example.FromString(first).features.feature[RANKING_GROUP].int64_list.value:
        raise TrainingDataError(
            f"training.ranking_loss: expected {RANKING_GROUP!r} in each example of the train split, and there is none: "
            "they were transformed by a spec without a ranking loss; transform them anew"
        )


@dataclass(frozen=True)
class TrainingData:
    """Serialised examples of both splits, the number of train examples and their labels by task, and where from."""

    train: tf.data.Dataset
    evaluation: tf.data.Dataset
    examples: int
    labels: dict[str, LabelSummary]
    origin: tuple[Any, ...]

    def steps(self, spec: RankingSpec) -> int:
        """Returns how many steps all epochs of the spec's training take."""
        return spec.training.epochs_for(self.examples) * -(-self.examples // spec.training.batch_size)


def read_training_data(fn_args: "FnArgs", spec: RankingSpec) -> TrainingData:
    """Reads what is trained and stopped on, and checks its labels.

    Raises:
      TrainingDataError: an empty split, a task whose train labels are all the same, or examples without the groups that
        the spec's ranking loss orders within.
    """
    train_files, eval_files = example_files(fn_args.train_files, "train"), example_files(fn_args.eval_files, "eval")
    train, evaluation = serialized_examples(train_files), serialized_examples(eval_files)
    examples, labels = _checked_labels(train, evaluation, spec)
    if spec.training.ranking_loss:
        check_groups(train)
    _progress.info("%s examples to train on", f"{examples:,}")
    return TrainingData(train, evaluation, examples, labels, (train_files, eval_files, fn_args.transform_graph_path))


def _checked_labels(
    train: tf.data.Dataset, evaluation: tf.data.Dataset, spec: RankingSpec
) -> tuple[int, dict[str, LabelSummary]]:
    examples, labels = label_summaries(train, spec, "train")
    if problems := check_labels(labels, "train"):
        raise TrainingDataError("; ".join(problems))
    for problem in check_labels(label_summaries(evaluation, spec, "eval")[1], "eval"):
        _progress.warning("%s: its eval metrics say little, and early stopping watches them", problem)
    return examples, labels
