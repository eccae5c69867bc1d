"""Training that starts from an earlier model: embeddings go by the value they stand for, the rest by place."""

import logging
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models.ranker import Ranker
from schema.columns import example_columns, model_columns
from schema.served import SPEC_FILE
from schema.spec import RankingSpec

_progress = logging.getLogger("fulcrum.progress")


class BaseModelError(ValueError):
    """Training can't start from the model that was given; the message says why."""


def warm_start(model: Ranker, transform: tft.TFTransformOutput, saved_model: str) -> None:
    """Gives the ranker, whose weights have been created, those of a SavedModel that Fulcrum wrote.

    The two may have been trained on other days: a value keeps its embedding wherever it stands in the new vocabulary,
    and one that was not known then starts afresh. The optimiser and what balances the losses start afresh as well.

    Raises:
      BaseModelError: the SavedModel is of another shape: other columns, tasks or `model` of its spec.
    """
    with tf.io.gfile.GFile(f"{saved_model}/{SPEC_FILE}") as file:
        _check_same_shape(RankingSpec.from_json(file.read()), model.spec, saved_model)
    names = {column.vocabulary for column in model_columns(model.spec) if column.vocabulary is not None}
    tables = {
        id(table): name
        for encoder in model.encoders
        for name, table in encoder.embeddings.tables.items()
        if name in names
    }
    before = {name: _terms(f"{saved_model}/assets/{name}") for name in names}
    now = {name: list(transform.vocabulary_by_name(name)) for name in names}
    trained = {id(variable) for variable in model.trainable_variables}
    if model.uncertainty:
        # It comes after all that the outputs follow from, whose places are the same without it.
        trained -= {id(variable) for variable in model.uncertainty.trainable_variables}
    reader = tf.train.load_checkpoint(f"{saved_model}/variables/variables")
    # `signatures.Servable` keeps the ranker's variables in this order.
    for place, variable in enumerate(model.variables):
        if id(variable) not in trained:
            continue
        value = reader.get_tensor(f"weights/{place}/.ATTRIBUTES/VARIABLE_VALUE")
        name = tables.get(id(variable))
        variable.assign(value if name is None else moved_rows(value, before[name], now[name], variable.numpy()))
    known = sum(len(set(before[name]) & set(now[name])) for name in names)
    _progress.info("starting from %s: %s of %s values known", saved_model, known, sum(map(len, now.values())))


def moved_rows(rows: np.ndarray, before: Sequence[bytes], now: Sequence[bytes], initial: np.ndarray) -> np.ndarray:
    """The table for the vocabulary `now`, from the one for `before`; new values have their row of `initial`.

    The out-of-vocabulary buckets stand after the values in both.
    """
    place = {term: row for row, term in enumerate(before)}
    result = initial.copy()
    pairs = [(row, place[term]) for row, term in enumerate(now) if term in place]
    if pairs:
        to, origin = np.array(pairs).T
        result[to] = rows[origin]
    result[len(now) :] = rows[len(before) :]
    return result


def _terms(path: str) -> list[bytes]:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read().splitlines()


def _check_same_shape(base: RankingSpec, ours: RankingSpec, saved_model: str) -> None:
    theirs, own = _shape(base), _shape(ours)
    for name, expected in own.items():
        if theirs[name] != expected:
            raise BaseModelError(
                f"can't start from {saved_model}: its {name} differ: expected {expected}, got {theirs[name]}"
            )


def _shape(spec: RankingSpec) -> dict[str, object]:
    """What the number and the sizes of the weights follow from, beside the vocabularies."""
    return {
        "columns": [(column.name, column.dtype, column.ragged) for column in example_columns(spec)],
        "tasks": [task.name for task in spec.tasks],
        "model's settings": spec.model,
    }
