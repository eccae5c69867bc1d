"""LightGBM on the examples that ingest writes: one model a task, early stopping on the eval split.

The trees read what the ranker reads but sequences, multi-valued features and vectors: categories and ids by their rank
in the train split, numbers, crosses and look-ups as the spec derives them, and of statistics the counts, the rates
`(s + m p) / (n + m)` and the ages. Examples weigh what they weigh to the ranker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import lightgbm
import numpy as np
import tensorflow as tf

from models.derived import derive
from models.training import reading
from schema.columns import ExampleColumn, derived_columns, example_columns, input_columns, label_name, space_name
from schema.spec import RankingSpec, Task
from schema.statistics import ages_of, counts_of, rates_of, slots, smoothed_rate, statistic_of, statistics_of

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


@dataclass(frozen=True)
class Split:
    """A split's examples.

    Attributes:
      values: by column `(rows,)`, or `(rows, width)` of a vector.
      maps: by column each row's entries `key=value`, of which look-ups are made.
    """

    values: Mapping[str, np.ndarray]
    maps: Mapping[str, tf.RaggedTensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def labels(self, task: Task) -> np.ndarray:
        return self.values[label_name(task)]

    def in_space(self, task: Task) -> np.ndarray:
        return self.values[space_name(task)] > 0

    def weights(self, task: Task) -> np.ndarray:
        """Returns what each row counts for in the task: 1 in its sample space, or the example's weight."""
        return self.values[space_name(task)]


def read_split(patterns: Sequence[str], name: str, spec: RankingSpec) -> Split:
    """Reads every column of the examples that holds one value, a vector of a fixed width, or a map."""
    dtypes = {"string": tf.string, "float": tf.float32, "int": tf.int64}
    features = {
        column.name: tf.io.FixedLenFeature([column.width] if column.width else [], dtypes[column.dtype])
        for column in example_columns(spec)
        if not column.ragged
    }
    maps = {column.name: tf.io.RaggedFeature(tf.string) for column in input_columns(spec) if column.kind == "map"}
    records = reading.serialized_examples(reading.example_files(patterns, name)).batch(PARSED_AT_ONCE)
    parsed = [tf.io.parse_example(batch, {**features, **maps}) for batch in records]
    return Split(
        {column: np.concatenate([batch[column].numpy() for batch in parsed]) for column in features},
        {column: tf.concat([batch[column] for batch in parsed], axis=0) for column in maps},
    )


class Table:
    """The columns of the trees, fitted to the train split; `transform` returns `(rows, columns)` of any split."""

    def __init__(self, train: Split, spec: RankingSpec, statistics: bool):
        self.spec = spec
        columns = [column for column in (*input_columns(spec), *derived_columns(spec)) if not column.ragged]
        self.edges = {name: _edges(train.values[name], buckets) for name, buckets in _crossed_buckets(spec).items()}
        values = self._values(train)
        self.categories = {column.name: _codes(values[column.name]) for column in columns if column.vocabulary}
        self.numbers = [column.name for column in columns if column.kind in ("number", "buckets")]
        self.vectors = [column for column in columns if column.kind == "statistic"] if statistics else []
        self.priors = {column.name: self._priors(column, train) for column in self.vectors}

    @property
    def categorical(self) -> list[int]:
        """Returns the indices of the columns that are categories."""
        return list(range(len(self.categories)))

    def transform(self, split: Split) -> np.ndarray:
        values = self._values(split)
        parts = [_encoded(values[name], codes)[:, None] for name, codes in self.categories.items()]
        parts += [values[name][:, None] for name in self.numbers]
        parts += [self._statistic(column, values[column.name]) for column in self.vectors]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def _values(self, split: Split) -> Mapping[str, np.ndarray]:
        """Returns a split's columns, and those that the spec derives of them."""
        if not self.spec.derive:
            return split.values
        inputs = {name: tf.constant(split.values[name]) for name in _made_of(self.spec) - split.maps.keys()}
        buckets = {name: tf.constant(_bucket_ids(split.values[name], edges)) for name, edges in self.edges.items()}
        derived = derive({**inputs, **split.maps}, buckets, self.spec)
        return {**split.values, **{name: tensor.numpy() for name, tensor in derived.items()}}

    def _slot_indices(self, column: ExampleColumn) -> dict[str, int]:
        """Returns by the name of each slot its place in the vectors of a statistic."""
        return {slot.name: i for i, slot in enumerate(slots(self.spec, statistic_of(self.spec, column.name)))}

    def _priors(self, column: ExampleColumn, train: Split) -> list[float]:
        """Returns the train split's mean that each rate of a statistic is smoothed towards."""
        index = self._slot_indices(column)
        priors = []
        for rate in rates_of(self.spec, statistic_of(self.spec, column.name)):
            if rate.task:
                priors.append(train.labels(rate.task)[train.in_space(rate.task)].mean())
            else:
                total, count = (train.values[column.name][:, index[slot.name]] for slot in (rate.sum, rate.count))
                priors.append(np.nansum(total) / max(np.nansum(count), 1))
        return priors

    def _statistic(self, column: ExampleColumn, vectors: np.ndarray) -> np.ndarray:
        assert self.spec.statistics is not None
        statistic, index = statistic_of(self.spec, column.name), self._slot_indices(column)
        columns = [vectors[:, index[slot.name]] for slot in counts_of(self.spec, statistic)]
        for rate, prior in zip(rates_of(self.spec, statistic), self.priors[column.name], strict=True):
            total, count = (vectors[:, index[slot.name]] for slot in (rate.sum, rate.count))
            columns.append(smoothed_rate(total, count, prior, self.spec.statistics.prior_strength))
        columns += [vectors[:, index[slot.name]] for slot in ages_of(self.spec, statistic)]
        return np.stack(columns, axis=1)


def _made_of(spec: RankingSpec) -> set[str]:
    """Returns the features that others are derived from."""
    return {name for derived in spec.derive for name in derived.features}


def _crossed_buckets(spec: RankingSpec) -> dict[str, int]:
    """Returns the number of buckets of each bucketised feature that others are derived from."""
    return {
        feature.name: feature.buckets
        for feature in spec.features
        if feature.column_kind == "buckets" and feature.name in _made_of(spec)
    }


def _edges(values: np.ndarray, buckets: int) -> np.ndarray:
    """Returns the ends of quantile buckets, `(buckets - 1,)`."""
    return np.nanquantile(values, np.linspace(0, 1, buckets + 1)[1:-1])


def _bucket_ids(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Returns each value's bucket, from 1 on; 0 where it is missing."""
    return np.where(np.isnan(values), 0, 1 + np.searchsorted(edges, values, side="right"))


def _codes(values: np.ndarray) -> dict[bytes, int]:
    names, counts = np.unique(values, return_counts=True)
    return {names[i]: rank for rank, i in enumerate(np.argsort(-counts, kind="stable")[:CATEGORIES])}


def _encoded(values: np.ndarray, codes: Mapping[bytes, int]) -> np.ndarray:
    names, inverse = np.unique(values, return_inverse=True)
    return np.array([codes.get(name, np.nan) for name in names], np.float32)[inverse]


def settings(spec: RankingSpec) -> list[object]:
    """Returns what scores depend on beside the examples and the seed, by which those that were kept are found.

    What not every spec has is named only where it is there, so that scores that were kept without it stay valid.
    """
    ages = any(statistic.age for statistic in statistics_of(spec))
    measures = bool(spec.statistics and spec.statistics.measures)
    read = {"weight": spec.weight is not None, "derive": bool(spec.derive), "age": ages, "measures": measures}
    return [spec.to_json(), SETTINGS, *(name for name, is_there in read.items() if is_there)]


def scores(train: Split, evaluation: Split, test: Split, spec: RankingSpec, statistics: bool, seed: int) -> np.ndarray:
    """Returns each task's predictions on the test split, float32 `(tasks, rows)`."""
    table = Table(train, spec, statistics)
    inputs = {name: table.transform(split) for name, split in (("train", train), ("eval", evaluation), ("test", test))}
    predictions = []
    for task in spec.tasks:
        inside, stops = train.in_space(task), evaluation.in_space(task)
        parameters = SETTINGS | {"objective": "regression" if task.is_regression else "binary", "seed": seed}
        data = lightgbm.Dataset(
            inputs["train"][inside],
            train.labels(task)[inside],
            weight=train.weights(task)[inside] if spec.weight else None,
            categorical_feature=table.categorical,
        )
        stopped_on = lightgbm.Dataset(
            inputs["eval"][stops],
            evaluation.labels(task)[stops],
            weight=evaluation.weights(task)[stops] if spec.weight else None,
            reference=data,
        )
        metric = "l2" if task.is_regression else "auc"
        model = lightgbm.train(
            parameters | {"metric": metric},
            data,
            ROUNDS,
            valid_sets=[stopped_on],
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        predictions.append(np.clip(model.predict(inputs["test"]), task.domain.low, task.domain.high))
    return np.stack(predictions).astype(np.float32)
