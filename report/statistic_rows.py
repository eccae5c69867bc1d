"""The statistics' vectors of some examples of each split, with the labels: what the report says of them is made of."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from schema.anomalies import SPLIT_FOLDER
from schema.columns import example_columns, label_name, space_name
from schema.spec import RankingSpec

# Of each split; as many of each of its files, which are in no order.
MOST_EXAMPLES = 50_000
_SPLITS = ("train", "eval", "test")
_BATCH = 1_000
_FILES_AT_ONCE = 8


@dataclass(frozen=True)
class StatisticRows:
    """Some examples.

    Attributes:
      vectors: float32 [examples, slots] by column.
      labels, spaces: float32 [examples] by task.
    """

    vectors: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    spaces: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.labels.values())))


@dataclass(frozen=True)
class StatisticExamples:
    """What was read of a run's examples, by split, and the spec that says what their columns mean."""

    spec: RankingSpec
    splits: Mapping[str, StatisticRows]


def read_statistic_examples(uri: str, spec: RankingSpec, most: int = MOST_EXAMPLES) -> StatisticExamples:
    """Reads at most about `most` examples of each split in the folder `uri` of ingest's examples, gzipped TFRecords.

    Raises:
      tf.errors.OpError: a file can't be read.
    """
    columns = [column for column in example_columns(spec) if column.role in ("statistic", "label", "space")]
    features = {
        column.name: tf.io.FixedLenFeature([column.width] if column.width else [], tf.float32) for column in columns
    }
    splits = {}
    for split in _SPLITS:
        folder = f"{uri}/{SPLIT_FOLDER}{split}"
        files = sorted(f"{folder}/{name}" for name in fileio.listdir(folder)) if fileio.isdir(folder) else []
        if files:
            splits[split] = _rows(spec, _read(files, features, -(-most // len(files))))
    return StatisticExamples(spec, splits)


def _read(files: list[str], features: Mapping[str, tf.io.FixedLenFeature], of_each: int) -> dict[str, np.ndarray]:
    dataset = (
        tf.data.Dataset.from_tensor_slices(files)
        .interleave(
            lambda file: tf.data.TFRecordDataset(file, "GZIP").take(of_each).batch(_BATCH),
            cycle_length=_FILES_AT_ONCE,
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .map(lambda batch: tf.io.parse_example(batch, dict(features)), num_parallel_calls=tf.data.AUTOTUNE)
    )
    batches = list(dataset.as_numpy_iterator())
    empty = {name: np.zeros((0, *feature.shape), np.float32) for name, feature in features.items()}
    return {name: np.concatenate([empty[name], *(batch[name] for batch in batches)]) for name in features}


def _rows(spec: RankingSpec, columns: Mapping[str, np.ndarray]) -> StatisticRows:
    of_statistics = {column.name for column in example_columns(spec) if column.role == "statistic"}
    return StatisticRows(
        {name: values for name, values in columns.items() if name in of_statistics},
        {task.name: columns[label_name(task)] for task in spec.tasks},
        {task.name: columns[space_name(task)] for task in spec.tasks},
    )
