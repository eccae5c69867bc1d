"""Reads serialised examples, scores them with every model in big batches, and keeps what an evaluation needs."""

from collections.abc import Iterator
from dataclasses import replace

import apache_beam as beam
import numpy as np
import tensorflow as tf

from evaluation.plan import Plan
from evaluation.scored import ScoredRows, Texts, concatenated, decades
from schema.columns import USER_ID
from schema.served import SERVING_DEFAULT
from schema.tasks import ANY_NUMBER

BATCH = 4096
# Rows that are put together before they are shuffled by user.
CHUNK = 65_536


class ScoringError(ValueError):
    """A model can't be evaluated: it can't read the examples, lacks a task, or its scores are no scores."""


class Score(beam.DoFn):
    """Files of examples -> (bucket of users, ScoredRows)."""

    def __init__(self, plan: Plan, buckets: int):
        self._plan, self._buckets = plan, buckets

    def setup(self) -> None:
        # Of raw bytes in and scores out alone: neither Keras nor the code that the model was made by is needed.
        self._models = [tf.saved_model.load(model.path) for model in self._plan.models]

    def process(self, file: str) -> Iterator[tuple[int, ScoredRows]]:
        pending: list[ScoredRows] = []
        dataset = tf.data.TFRecordDataset(file, compression_type="GZIP").batch(BATCH).prefetch(2)
        for serialized in dataset:
            pending.append(self._scored(serialized))
            if sum(map(len, pending)) >= CHUNK:
                yield from self._by_bucket(pending)
                pending = []
        if pending:
            yield from self._by_bucket(pending)

    def _by_bucket(self, parts: list[ScoredRows]) -> Iterator[tuple[int, ScoredRows]]:
        rows = concatenated(parts)
        bucket = (rows.users % np.uint64(self._buckets)).astype(np.int64)
        for number in np.unique(bucket).tolist():
            yield number, rows.take(np.flatnonzero(bucket == number))

    def _scored(self, serialized: tf.Tensor) -> ScoredRows:
        columns = parsed(serialized, self._plan)
        tasks = self._plan.tasks
        scores = np.full((len(self._models), len(tasks), len(columns.users)), np.nan, np.float32)
        for m, model in enumerate(self._plan.models):
            outputs = self._predict(m, serialized)
            for t in (t for t, task in enumerate(tasks) if task.name in model.tasks):
                scores[m, t] = self._checked(outputs, m, t)
        return replace(columns, scores=scores)

    def _predict(self, model: int, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        signature = self._models[model].signatures[SERVING_DEFAULT]
        (argument,) = signature.structured_input_signature[1]
        try:
            return signature(**{argument: serialized})
        except tf.errors.OpError as error:
            planned = self._plan.models[model]
            raise ScoringError(f"the {planned.name} ({planned.path}) can't score the examples: {error}") from None

    def _checked(self, outputs: dict[str, tf.Tensor], model: int, task: int) -> np.ndarray:
        planned, of_task = self._plan.models[model], self._plan.tasks[task]
        name, domain = of_task.name, of_task.domain
        if name not in outputs:
            raise ScoringError(
                f"the {planned.name} ({planned.path}) has no output {name!r}, only {', '.join(sorted(outputs))}"
            )
        scores = outputs[name].numpy().astype(np.float32).reshape(-1)
        wrong = ~np.isfinite(scores) | (scores < domain.low) | (scores > domain.high)
        if wrong.any():
            of_regression = "finite numbers" if domain == ANY_NUMBER else f"numbers {domain}"
            expected = of_regression if of_task.regression else "probabilities"
            raise ScoringError(
                f"the {planned.name} ({planned.path}): expected {expected} of {name!r}, got {scores[wrong][0]} "
                f"in {int(wrong.sum())} of {len(scores)} rows"
            )
        return scores


def parsed(serialized: tf.Tensor, plan: Plan) -> ScoredRows:
    """Returns users, lists, labels, sample spaces, weights and slice columns of serialised examples; no scores."""
    number = tf.io.FixedLenFeature([], tf.float32)
    features: dict[str, tf.io.FixedLenFeature | tf.io.RaggedFeature] = {USER_ID: tf.io.FixedLenFeature([], tf.string)}
    for task in plan.tasks:
        features[task.label], features[task.space] = number, number
    for name, ragged in plan.slice_columns.items():
        features[name] = tf.io.RaggedFeature(tf.string) if ragged else tf.io.FixedLenFeature([], tf.string)
    for sliced in plan.slice_impressions.values():
        features[sliced.column] = tf.io.FixedLenFeature([sliced.width], tf.float32)
    features[plan.lists.column] = tf.io.FixedLenFeature([], tf.int64)
    columns = tf.io.parse_example(serialized, features)
    # The same number for an id in every process, which Python's own hash is not.
    users = tf.strings.to_hash_bucket_fast(columns[USER_ID], (1 << 63) - 1).numpy().astype(np.uint64)
    spaces = np.stack([columns[task.space].numpy() for task in plan.tasks])
    return ScoredRows(
        users,
        columns[plan.lists.column].numpy() // plan.lists.length,
        np.stack([columns[task.label].numpy() for task in plan.tasks]),
        spaces > 0,
        np.zeros((0, len(plan.tasks), len(users)), np.float32),
        {name: _texts(columns[name]) for name in plan.slice_columns}
        | {
            key: decades(columns[sliced.column].numpy()[:, sliced.slot])
            for key, sliced in plan.slice_impressions.items()
        },
        spaces if plan.weighted else None,
    )


def _texts(column: tf.Tensor | tf.RaggedTensor) -> Texts:
    ragged = isinstance(column, tf.RaggedTensor)
    values, codes = np.unique((column.flat_values if ragged else column).numpy().astype(object), return_inverse=True)
    lengths = column.row_lengths().numpy() if ragged else None
    texts = tuple(value.decode("utf-8", "backslashreplace") for value in values)
    return Texts(codes.astype(np.int32), texts, lengths)
