"""LightGBM on the examples that ingest writes: one model a task, early stopping on the eval split.

The trees read what the ranker reads but sequences, multi-valued features and vectors: categories and ids by their rank
in the train split, numbers, and of statistics the counts and the rates `(s + m p) / (n + m)`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
import tensorflow as tf

from models.training import reading
from schema.columns import ExampleColumn, example_columns, input_columns, label_name, space_name
from schema.spec import RankingSpec, Task
from schema.statistics import counts_of, rates_of, slots, smoothed_rate, statistic_of

SETTINGS = {
    "learning_rate": 0.05,
    "num_leaves": 63,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.8,
    "cat_smooth": 50,
    "verbosity": -1,
    "num_threads": 1,
    "deterministic": True,
}
ROUNDS, PATIENCE = 1_000, 50
# Rarer values are one category.
CATEGORIES = 5_000
PARSED_AT_ONCE = 20_000

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Split:
    """A split's examples by column: `(rows,)`, or `(rows, width)` of a vector."""

    values: Arrays

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def labels(self, task: Task) -> np.ndarray:
        return self.values[label_name(task)]

    def in_space(self, task: Task) -> np.ndarray:
        return self.values[space_name(task)] > 0


def read_split(patterns: Sequence[str], name: str, spec: RankingSpec) -> Split:
    """Reads every column of the examples that holds one value, or a vector of a fixed width."""
    dtypes = {"string": tf.string, "float": tf.float32, "int": tf.int64}
    features = {
        column.name: tf.io.FixedLenFeature([column.width] if column.width else [], dtypes[column.dtype])
        for column in example_columns(spec)
        if not column.ragged
    }
    records = reading.serialized_examples(reading.example_files(patterns, name)).batch(PARSED_AT_ONCE)
    parsed = [tf.io.parse_example(batch, features) for batch in records]
    return Split({column: np.concatenate([batch[column].numpy() for batch in parsed]) for column in features})


class Table:
    """The columns of the trees, fitted to the train split; `transform` returns `(rows, columns)` of any split."""

    def __init__(self, train: Split, spec: RankingSpec, statistics: bool):
        self.spec = spec
        columns = [column for column in input_columns(spec) if not column.ragged]
        self.categories = {column.name: _codes(train.values[column.name]) for column in columns if column.vocabulary}
        self.numbers = [column.name for column in columns if column.kind in ("number", "buckets")]
        self.vectors = [column for column in columns if column.kind == "statistic"] if statistics else []
        self.priors = {task.name: train.labels(task)[train.in_space(task)].mean() for task in spec.tasks}

    @property
    def categorical(self) -> list[int]:
        """Returns the indices of the columns that are categories."""
        return list(range(len(self.categories)))

    def transform(self, split: Split) -> np.ndarray:
        parts = [_encoded(split.values[name], codes)[:, None] for name, codes in self.categories.items()]
        parts += [split.values[name][:, None] for name in self.numbers]
        parts += [self._rates(column, split.values[column.name]) for column in self.vectors]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def _rates(self, column: ExampleColumn, vectors: np.ndarray) -> np.ndarray:
        assert self.spec.statistics is not None
        statistic = statistic_of(self.spec, column.name)
        index = {slot.name: i for i, slot in enumerate(slots(self.spec, statistic))}
        columns = [vectors[:, index[slot.name]] for slot in counts_of(self.spec, statistic)]
        for rate in rates_of(self.spec, statistic):
            total, count = vectors[:, index[rate.sum.name]], vectors[:, index[rate.count.name]]
            prior = self.priors[rate.task.name] if rate.task else np.nansum(total) / max(np.nansum(count), 1)
            columns.append(smoothed_rate(total, count, prior, self.spec.statistics.prior_strength))
        return np.stack(columns, axis=1)


def _codes(values: np.ndarray) -> dict[bytes, int]:
    names, counts = np.unique(values, return_counts=True)
    return {names[i]: rank for rank, i in enumerate(np.argsort(-counts, kind="stable")[:CATEGORIES])}


def _encoded(values: np.ndarray, codes: Mapping[bytes, int]) -> np.ndarray:
    names, inverse = np.unique(values, return_inverse=True)
    return np.array([codes.get(name, np.nan) for name in names], np.float32)[inverse]


def scores(train: Split, evaluation: Split, test: Split, spec: RankingSpec, statistics: bool, seed: int) -> np.ndarray:
    """Returns each task's predictions on the test split, float32 `(tasks, rows)`."""
    table = Table(train, spec, statistics)
    inputs = {name: table.transform(split) for name, split in (("train", train), ("eval", evaluation), ("test", test))}
    predictions = []
    for task in spec.tasks:
        inside, stops = train.in_space(task), evaluation.in_space(task)
        settings = SETTINGS | {"objective": "regression" if task.is_regression else "binary", "seed": seed}
        data = lightgbm.Dataset(
            inputs["train"][inside], train.labels(task)[inside], categorical_feature=table.categorical
        )
        stopped_on = lightgbm.Dataset(inputs["eval"][stops], evaluation.labels(task)[stops], reference=data)
        metric = "l2" if task.is_regression else "auc"
        model = lightgbm.train(
            settings | {"metric": metric},
            data,
            ROUNDS,
            valid_sets=[stopped_on],
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        predictions.append(np.clip(model.predict(inputs["test"]), task.domain.low, task.domain.high))
    return np.stack(predictions).astype(np.float32)
