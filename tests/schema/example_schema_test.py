from pathlib import Path

import pyarrow as pa
import pytest
import tensorflow as tf
from tensorflow_data_validation.api.validation_api import validate_statistics
from tensorflow_data_validation.statistics import stats_impl, stats_options
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils

import schema
from schema.columns import example_columns
from schema.example_schema import SERVING, TRAINING, example_schema
from schema.loading import load_spec
from schema.spec import Feature, RankingSpec
from schema.statistics import Request

SPECS = sorted((Path(schema.__file__).parent / "specs").glob("*.yaml"))


@pytest.fixture(scope="module")
def spec():
    return load_spec(next(path for path in SPECS if path.stem == "shortvideo"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_column_of_an_example_is_in_the_schema_and_nothing_else(path):
    spec = load_spec(path)
    names = [feature.name for feature in example_schema(spec).feature]
    assert names == [column.name for column in example_columns(spec)]


def test_ragged_columns_are_parsed_as_ragged_and_the_others_as_scalars(spec):
    parsed = schema_utils.schema_as_feature_spec(example_schema(spec)).feature_spec
    for column in example_columns(spec):
        feature_class = tf.io.RaggedFeature if column.ragged else tf.io.FixedLenFeature
        assert isinstance(parsed[column.name], feature_class), column.name
        assert parsed[column.name].dtype == {"string": tf.string, "float": tf.float32, "int": tf.int64}[column.dtype]


ROWS = 20


def columns(spec) -> dict[str, list]:
    """Good examples, a list per row."""
    rows: dict[str, list] = {}
    for column in example_columns(spec):
        sizes = [row % 3 for row in range(ROWS)] if column.ragged else [column.width or 1] * ROWS
        value = {"string": lambda i: f"v{i}".encode(), "float": lambda i: float(i % 2), "int": lambda i: i}[
            column.dtype
        ]
        rows[column.name] = [[value(i)] * size for i, size in enumerate(sizes)]
    return rows


def anomalies(spec, rows: dict[str, list]) -> dict[str, str]:
    types = {"string": pa.binary(), "float": pa.float32(), "int": pa.int64()}
    dtype = {column.name: types[column.dtype] for column in example_columns(spec)}
    arrays = [pa.array(values, pa.list_(dtype.get(name, pa.binary()))) for name, values in rows.items()]
    batch = pa.RecordBatch.from_arrays(arrays, names=list(rows))
    statistics = stats_impl.generate_statistics_in_memory(
        batch, stats_options.StatsOptions(schema=example_schema(spec))
    )
    validated = validate_statistics(statistics, example_schema(spec), environment=TRAINING)
    return {name: info.short_description for name, info in validated.anomaly_info.items()}


def test_good_examples_have_no_anomaly(spec):
    assert anomalies(spec, columns(spec)) == {}


def test_missing_numbers_and_empty_sequences_are_no_anomaly(spec):
    rows = columns(spec)
    for column in example_columns(spec):
        if column.ragged:
            rows[column.name] = [[]] * ROWS
        elif column.role == "feature" and column.dtype == "float":
            rows[column.name][0] = [float("nan")]
    assert anomalies(spec, rows) == {}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("label_like", [[2.0]] * ROWS),
        ("label_like", [[float("nan")]] * ROWS),
        ("space_like", [[-1.0]] * ROWS),
        ("watched_age_s", [[-5.0]] * ROWS),
        ("tab", [[b"a", b"b"]] * ROWS),
        ("tab", [[b"a"]] * (ROWS - 1) + [[]]),
        ("user_id", [[]] * ROWS),
    ],
)
def test_wrong_values_are_anomalies(spec, name, values):
    assert list(anomalies(spec, {**columns(spec), name: values})) == [name]


def test_a_vector_holds_its_size_and_is_missing_as_a_whole(spec):
    vector = Feature(name="embedding", source="items", kind="vector", size=3)
    vectors = spec.model_copy(update={"features": (*spec.features, vector)})
    rows = columns(spec)
    rows["embedding"] = [[1.0, 2.0, 3.0]] * (ROWS - 1) + [[float("nan")] * 3]
    for behaviour in spec.behaviours:
        rows[f"{behaviour.name}_embedding"] = [[0.5] * 3 * (row % 3) for row in range(ROWS)]
    assert anomalies(vectors, rows) == {}
    assert list(anomalies(vectors, {**rows, "embedding": [[1.0, 2.0]] * ROWS})) == ["embedding"]


def test_an_absent_and_an_unknown_column_are_anomalies(spec):
    rows = columns(spec)
    rows["stray"] = rows.pop("country")
    assert set(anomalies(spec, rows)) == {"country", "stray"}


def test_requests_start_is_an_integer_that_serving_does_not_know(spec):
    requested = spec.model_copy(update={"log": spec.log.model_copy(update={"request": Request(gap="30m")})})
    (start,) = [feature for feature in example_schema(requested).feature if feature.name == "request_start"]
    assert (start.type, list(start.not_in_environment)) == (schema_pb2.INT, [SERVING])
    rows = columns(requested)
    rows["request_start"] = [[1_700_000_000_000 + i] for i in range(ROWS)]
    assert anomalies(requested, rows) == {}


def test_serving_knows_no_labels(spec):
    training_only = {feature.name for feature in example_schema(spec).feature if SERVING in feature.not_in_environment}
    assert training_only == {column.name for column in example_columns(spec) if column.side == "target"}
    assert {"label_like", "space_like"} <= training_only


@pytest.mark.parametrize(("transform", "bounds"), [("none", (None, None)), ("log1p", (0.0, None))])
def test_a_label_without_bounds_has_those_of_its_task(transform, bounds):
    log = {"layout": "impressions", "files": "*", "user": "u", "item": "i", "timestamp": {"column": "t"}}
    task = {"name": "watch_s", "column": "play_ms", "kind": "regression", "transform": transform}
    schema = example_schema(RankingSpec.model_validate({"name": "clips", "log": log, "tasks": [task]}))
    domains = {feature.name: feature.float_domain for feature in schema.feature}
    label, space = domains["label_watch_s"], domains["space_watch_s"]
    assert tuple(getattr(label, end) if label.HasField(end) else None for end in ("min", "max")) == bounds
    assert label.disallow_nan
    assert label.disallow_inf
    assert (space.min, space.max) == (0.0, 1.0)
