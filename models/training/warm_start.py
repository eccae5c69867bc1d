"""Starts training from an earlier model: embeddings go by the value they stand for, other weights by their order."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models.ranker import Ranker
from models.ranking_losses import towers_logits
from schema.columns import example_columns, model_columns
from schema.modelling import shared_routing
from schema.served import SPEC_FILE
from schema.spec import RankingSpec

_progress = logging.getLogger("fulcrum.progress")


class BaseModelError(ValueError):
    """Training can't start from the model that was given; the message says why."""


def warm_start(model: Ranker, transform: tft.TFTransformOutput, saved_model: str) -> None:
    """Assigns the weights of a SavedModel that Fulcrum wrote to the ranker, whose weights must exist.

    The two may have been trained on other days: a value keeps its embedding whatever its id in the new vocabulary,
    and one that the earlier vocabulary lacks starts afresh. So do the optimiser and what balances the losses.

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
    earlier = {name: _terms(f"{saved_model}/assets/{name}") for name in names}
    current = {name: list(transform.vocabulary_by_name(name)) for name in names}
    trained = {id(variable) for variable in _with_units(model)}
    if model.uncertainty:
        # It comes after all that the outputs follow from, whose indices are the same without it.
        trained -= {id(variable) for variable in model.uncertainty.trainable_variables}
    weights = _weights(saved_model)
    for index, variable in enumerate(model.variables):
        if id(variable) not in trained:
            continue
        value = weights(index)
        name = tables.get(id(variable))
        variable.assign(value if name is None else moved_rows(value, earlier[name], current[name], variable.numpy()))
    common = sum(len(set(earlier[name]) & set(current[name])) for name in names)
    _progress.info("starting from %s: %s of %s values known", saved_model, common, sum(map(len, current.values())))


def restore(model: Ranker, saved_model: str) -> None:
    """Assigns to a ranker the weights of a SavedModel of the same spec and Transform graph."""
    weights = _weights(saved_model)
    trained = {id(variable) for variable in _with_units(model)}
    for index, variable in enumerate(model.variables):
        if id(variable) in trained:
            variable.assign(weights(index))


def copy_units(trained: Ranker, model: Ranker) -> None:
    """Assigns to a ranker of the same spec what the weights of the trained one's towers are relative to.

    They are no part of a checkpoint, and after a warm start not those of the labels.
    """
    for variable, value in zip(
        model.towers.non_trainable_variables, trained.towers.non_trainable_variables, strict=True
    ):
        variable.assign(value.numpy())


def _with_units(model: Ranker) -> list[tf.Variable]:
    """Returns the trainable variables, and what the towers' weights are relative to."""
    return [*model.trainable_variables, *model.towers.non_trainable_variables]


def _weights(saved_model: str) -> Callable[[int], np.ndarray]:
    """Returns what reads a variable of a SavedModel by its place; `signatures.Servable` keeps the ranker's in order."""
    reader = tf.train.load_checkpoint(f"{saved_model}/variables/variables")
    return lambda index: reader.get_tensor(f"weights/{index}/.ATTRIBUTES/VARIABLE_VALUE")


def moved_rows(rows: np.ndarray, earlier: Sequence[bytes], current: Sequence[bytes], initial: np.ndarray) -> np.ndarray:
    """Returns the table for the vocabulary `current`, from `rows`, the one for `earlier`, `(values + buckets, dim)`.

    New values have their row of `initial`. The out-of-vocabulary buckets follow the values in all of them.
    """
    row_of = {term: row for row, term in enumerate(earlier)}
    result = initial.copy()
    pairs = [(row, row_of[term]) for row, term in enumerate(current) if term in row_of]
    if pairs:
        targets, sources = np.array(pairs).T
        result[targets] = rows[sources]
    result[len(current) :] = rows[len(earlier) :]
    return result


def _terms(path: str) -> list[bytes]:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read().splitlines()


def _check_same_shape(base: RankingSpec, spec: RankingSpec, saved_model: str) -> None:
    base_shape = _shape(base)
    for name, expected in _shape(spec).items():
        if base_shape[name] != expected:
            raise BaseModelError(
                f"can't start from {saved_model}: its {name} differ: expected {expected}, got {base_shape[name]}"
            )


def _shape(spec: RankingSpec) -> dict[str, object]:
    """Returns what decides the number and the sizes of the weights, beside the vocabularies."""
    return {
        "columns": [column.layout for column in example_columns(spec)],
        "derived features": spec.derive,
        "tasks": [task.name for task in spec.tasks],
        "unbounded tasks": {task.name: task.transform for task in spec.tasks if task.task_kind == "unbounded"},
        "logits of each tower": towers_logits(spec.training),
        # What `auto` shares comes first among its weights, and goes on alone.
        **{f"`model.{name}`": value for name, value in spec.model},
        "`model.routing`": shared_routing(spec.model.routing),
    }
