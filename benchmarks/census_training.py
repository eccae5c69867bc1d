"""Trains the product's ranker on Census-Income, from examples on disk as Transform leaves them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf
from sklearn.metrics import roc_auc_score
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from benchmarks.census_data import NUMERIC, TASKS, Dataset
from benchmarks.compact import Rows
from models.ranker import Ranker
from models.training import reading
from models.training.build import build_ranker
from models.training.loop import train_epochs
from models.training.progress import ProgressStore
from schema.columns import label_name, space_name
from schema.spec import Model, RankingSpec, Training

SPLITS = ("train", "validation", "test")


class Vocabularies:
    """The sizes of the columns' vocabularies, which is all that building a ranker asks of Transform's output."""

    def __init__(self, dataset: Dataset):
        self.sizes = dict(zip(dataset.columns, dataset.sizes, strict=True))

    def vocabulary_size_by_name(self, name: str) -> int:
        return self.sizes[name]


def census_spec(dataset: Dataset, shape: Model, training: Training) -> RankingSpec:
    """Returns the spec of Census-Income's two tasks: a feature for each column of ids, and for each number."""
    ids = [{"name": name, "source": "log", "kind": "categorical"} for name in dataset.columns]
    numbers = [{"name": f"{name}_scaled", "source": "log", "kind": "numeric"} for name in NUMERIC]
    log = {"layout": "impressions", "files": "*", "user": "u", "item": "i", "timestamp": {"column": "t"}}
    tasks = [{"name": task, "column": task} for task in TASKS]
    spec = RankingSpec.model_validate({"name": "census", "log": log, "features": [*ids, *numbers], "tasks": tasks})
    # No one stands in two rows.
    return spec.model_copy(update={"model": shape.model_copy(update={"embed_ids": ()}), "training": training})


def write_split(dataset: Dataset, rows: Rows, spec: RankingSpec, path: Path) -> None:
    """Writes rows as Transform would: ids within each column's vocabulary, scaled numbers, labels and spaces."""
    single = np.arange(len(rows) + 1, dtype=np.int32)
    first_ids = np.cumsum([0, *dataset.sizes[:-1]])
    columns = dict(zip(dataset.columns, (rows.ids - first_ids).T.astype(np.int64), strict=True))
    columns |= {f"{name}_scaled": numbers for name, numbers in zip(NUMERIC, rows.numbers.T, strict=True)}
    for task, labels in zip(spec.tasks, rows.labels.T, strict=True):
        columns |= {label_name(task): labels, space_name(task): np.ones(len(rows), np.float32)}
    arrays = [pa.ListArray.from_arrays(single, pa.array(values)) for values in columns.values()]
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in RecordBatchToExamplesEncoder(None).encode(pa.RecordBatch.from_arrays(arrays, names=[*columns])):
            writer.write(record)


def train(dataset: Dataset, shape: Model, training: Training) -> dict:
    """Returns the record of the epoch that validation picks: `epoch`, AUCs by task of `validation` and `test`.

    `examples_per_second` is that of the fastest epoch.
    """
    tf.keras.backend.clear_session()
    spec = census_spec(dataset, shape, training)
    with tempfile.TemporaryDirectory() as directory:
        records = {}
        for split in SPLITS:
            path = Path(directory) / f"{split}.gz"
            write_split(dataset, getattr(dataset, split), spec, path)
            records[split] = reading.serialized_examples([str(path)])
        examples, labels = reading.label_summaries(records["train"], spec, "train")
        data = reading.TrainingData(records["train"], records["validation"], examples, labels, ())
        model = build_ranker(spec, Vocabularies(dataset), labels, data.steps(spec))  # type: ignore[arg-type]
        store = ProgressStore.of(f"{directory}/state", model)
        progress = train_epochs(model, data.train, data.evaluation, examples, store, f"{directory}/logs", labels)
        store.restore_best(progress)
        test = _auc(model, records["test"], dataset.test)
        best = progress.epochs[progress.best_epoch - 1]
        speed = max(epoch["examples_per_second"] for epoch in progress.epochs)
    validation = [best["eval"][task]["auc"] for task in TASKS]
    return {"epoch": best["epoch"], "validation": validation, "test": test, "examples_per_second": round(speed)}


def _auc(model: Ranker, records: tf.data.Dataset, rows: Rows) -> list[float]:
    batches = list(_outputs(model, records))
    scores = {task: np.concatenate([batch[task] for batch in batches])[: len(rows)] for task in TASKS}
    return [float(roc_auc_score(rows.labels[:, i], scores[task])) for i, task in enumerate(TASKS)]


def _outputs(model: Ranker, records: tf.data.Dataset) -> Iterator[dict[str, np.ndarray]]:
    score = tf.function(model.call)
    for batch in reading.batches(records, model.spec, model.spec.training.batch_size):
        yield {task: output.numpy().ravel() for task, output in score(batch).items()}
