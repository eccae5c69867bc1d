"""The examples' schema, derived from the spec: what ExampleValidator and Transform hold the data against."""

import math

from tensorflow_metadata.proto.v0 import schema_pb2

from schema.columns import ExampleColumn, example_columns
from schema.spec import RankingSpec
from schema.tasks import Domain

TRAINING, SERVING = "TRAINING", "SERVING"

_TYPES = {"string": schema_pb2.BYTES, "float": schema_pb2.FLOAT, "int": schema_pb2.INT}


def example_schema(spec: RankingSpec) -> schema_pb2.Schema:
    """Returns the `schema_pb2.Schema` of the examples that ingest writes for `spec`.

    Single-valued columns are required and hold exactly one value, vectors exactly `width`; ragged ones may be empty.
    (Of a sequence of vectors it can't be said that it holds a multiple of `width`.)
    Strings are open vocabularies, numbers may be NaN (missing; in a vector all at once), ages are not negative, labels
    lie in their task's domain and sample spaces in [0, 1] (from 0 on with a `weight`). Labels, spaces and requests'
    starts belong to the TRAINING environment only: a request to the served model has none.
    """
    schema = schema_pb2.Schema(
        default_environment=[TRAINING, SERVING],
        # Ragged columns become RaggedTensors everywhere: in Transform, in the serving signature, in the Evaluator.
        represent_variable_length_as_ragged=True,
    )
    for column in example_columns(spec):
        _add_feature(schema, column)
    return schema


def _add_feature(schema: schema_pb2.Schema, column: ExampleColumn) -> None:
    feature = schema.feature.add(name=column.name, type=_TYPES[column.dtype])
    if column.ragged:
        feature.value_count.min = 0
    else:
        feature.shape.SetInParent()
        if column.width is not None:
            feature.shape.dim.add(size=column.width)
        feature.presence.min_fraction = 1.0
        feature.presence.min_count = 1
    if column.role == "request":
        feature.not_in_environment.append(SERVING)
    elif column.side == "target":
        feature.not_in_environment.append(SERVING)
        feature.float_domain.CopyFrom(_float_domain(column.domain or Domain()))
    elif column.dtype == "float" and column.missing is None:
        feature.float_domain.CopyFrom(schema_pb2.FloatDomain(min=0.0, disallow_nan=True, disallow_inf=True))


def _float_domain(domain: Domain) -> schema_pb2.FloatDomain:
    bounds = {"min": domain.low, "max": domain.high}
    finite = {name: bound for name, bound in bounds.items() if math.isfinite(bound)}
    return schema_pb2.FloatDomain(**finite, disallow_nan=True, disallow_inf=True)
