"""A saved ranker, and what its signatures are asked."""

import numpy as np
import pytest
import tensorflow as tf
from example_tensors import as_tensor, values_of
from exported_rankers import as_if_trained, input_names, trainers_numbers

from models.export import signatures
from schema.columns import model_columns


@pytest.fixture(scope="session")
def ranker(spec, transformed, disturb):
    return as_if_trained(spec, transformed, disturb)


@pytest.fixture(scope="session")
def saved(ranker, transformed, tmp_path_factory) -> str:
    directory = str(tmp_path_factory.mktemp("saved"))
    signatures.save(ranker, transformed.output, directory)
    return directory


@pytest.fixture(scope="session")
def served(saved):
    return tf.saved_model.load(saved).signatures


@pytest.fixture(scope="session")
def expected(ranker, transformed) -> dict[str, np.ndarray]:
    return trainers_numbers(ranker, transformed)


@pytest.fixture(scope="session")
def examples(transformed) -> list[tf.train.Example]:
    return [tf.train.Example.FromString(record) for record in transformed.raw["eval"]]


@pytest.fixture(scope="session")
def rank_request(spec, examples):
    """What `rank` takes for one example's user and for the candidates of several.

    Exponents are there because a loaded signature asks for every input when Python calls it.
    """

    def built(user: tf.train.Example, candidates: list[tf.train.Example], exponents=(1.0, 1.0, 1.0)):
        request = {"exponents": tf.constant(exponents, tf.float32)}
        for column in model_columns(spec):
            if column.side == "item":
                request[column.name] = as_tensor(column, [values_of(example, column) for example in candidates])
            else:
                values = values_of(user, column)
                dtype = tf.string if column.dtype == "string" else tf.float32
                request[column.name] = tf.constant(values if column.ragged or column.width else values[0], dtype)
        return request

    return built


@pytest.fixture(scope="session")
def written_out(spec):
    """Returns the same as full examples, serialised."""

    def built(user: tf.train.Example, candidates: list[tf.train.Example]) -> tf.Tensor:
        records = []
        for candidate in candidates:
            example = tf.train.Example.FromString(candidate.SerializeToString())
            for column in model_columns(spec):
                if column.side == "user":
                    example.features.feature[column.name].CopyFrom(user.features.feature[column.name])
            records.append(example.SerializeToString())
        return tf.constant(records, tf.string)

    return built


@pytest.fixture(scope="session")
def predict_request(spec, examples):
    """What `predict` takes for examples; as many paddings as `leading` says stand before each list."""

    def built(rows: list[tf.train.Example], leading: int = 0) -> dict[str, tf.Tensor]:
        columns = {column.name: column for column in model_columns(spec)}
        return {
            name: as_tensor(columns[name], [values_of(example, columns[name]) for example in rows], leading)
            for name in input_names(spec, "predict")
        }

    return built
