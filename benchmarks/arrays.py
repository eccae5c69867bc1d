"""The product's ranker trained on arrays, from examples on disk as Transform leaves them."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from benchmarks.ranker_training import train_ranker
from models.ranker import Ranker
from models.training import reading
from schema.columns import label_name, space_name
from schema.spec import Model, RankingSpec, Training


@dataclass(frozen=True)
class Rows:
    """Examples as arrays.

    Attributes:
      columns: by the name that Transform gives them: ids `(rows,)`, numbers `(rows,)`, vectors `(rows, width)`.
      labels: `(rows, tasks)`.
    """

    columns: Mapping[str, np.ndarray]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: slice) -> "Rows":
        return Rows({name: values[rows] for name, values in self.columns.items()}, self.labels[rows])


@dataclass(frozen=True)
class Splits:
    """What is trained on, what picks the epoch, and what is reported.

    Attributes:
      sizes: the vocabularies' sizes, of the columns of ids.
    """

    train: Rows
    validation: Rows
    test: Rows
    sizes: Mapping[str, int]

    def vocabulary_size_by_name(self, name: str) -> int:
        """Returns the size of a vocabulary, as Transform's output does: it is all that building a ranker asks of it."""
        return self.sizes[name]


@dataclass(frozen=True)
class Trained:
    """A training's outcome.

    Attributes:
      epochs: what the Trainer records of each.
      best_epoch: which of them is the best by validation; the first is 1.
      test: the best epoch's outputs on the test rows, `(rows, tasks)`.
    """

    epochs: list[dict[str, Any]]
    best_epoch: int
    test: np.ndarray

    @property
    def best(self) -> dict[str, Any]:
        return self.epochs[self.best_epoch - 1]


def spec_of(
    name: str, features: list[dict[str, Any]], tasks: list[dict[str, Any]], model: Model, training: Training
) -> RankingSpec:
    """Returns the spec of a ranker that is trained on arrays, whose log is never read."""
    log = {"layout": "impressions", "files": "*", "user": "u", "item": "i", "timestamp": {"column": "t"}}
    spec = RankingSpec.model_validate({"name": name, "log": log, "features": features, "tasks": tasks})
    # No one stands in two rows.
    return spec.model_copy(update={"model": model.model_copy(update={"embed_ids": ()}), "training": training})


def write_examples(rows: Rows, spec: RankingSpec, path: Path) -> None:
    """Writes rows as Transform would, every row in every task's sample space."""
    columns: dict[str, np.ndarray] = dict(rows.columns)
    for task, labels in zip(spec.tasks, rows.labels.T, strict=True):
        columns |= {label_name(task): labels, space_name(task): np.ones(len(rows), np.float32)}
    arrays = [_lists(values) for values in columns.values()]
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in RecordBatchToExamplesEncoder(None).encode(pa.RecordBatch.from_arrays(arrays, names=[*columns])):
            writer.write(record)


def _lists(values: np.ndarray) -> pa.ListArray:
    width = values.size // max(len(values), 1)
    return pa.ListArray.from_arrays(np.arange(len(values) + 1, dtype=np.int32) * width, pa.array(values.ravel()))


def train(splits: Splits, spec: RankingSpec) -> Trained:
    """Trains a ranker by the spec as the Trainer does, and returns its best epoch's outputs on the test rows."""
    tf.keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as directory:
        records = {}
        for name in ("train", "validation", "test"):
            path = Path(directory) / f"{name}.gz"
            write_examples(getattr(splits, name), spec, path)
            records[name] = reading.serialized_examples([str(path)])
        examples, labels = reading.label_summaries(records["train"], spec, "train")
        data = reading.TrainingData(records["train"], records["validation"], examples, labels, ())
        model, progress = train_ranker(spec, data, splits)  # type: ignore[arg-type]
        return Trained(progress.epochs, progress.best_epoch, _outputs(model, records["test"], len(splits.test)))


def _outputs(model: Ranker, records: tf.data.Dataset, rows: int) -> np.ndarray:
    score = tf.function(model.call)
    batches = [score(batch) for batch in reading.batches(records, model.spec, model.spec.training.batch_size)]
    tasks = [task.name for task in model.spec.tasks]
    # The last batch is filled up.
    return np.stack([np.concatenate([batch[task].numpy().ravel() for batch in batches])[:rows] for task in tasks], 1)
