"""Arrays as the `TensorProto`s of a response, and the messages that both protocols answer with."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2

from serving.model.saved_model import SavedModel

# The field of TensorProto that holds the values, as TensorFlow Serving fills it.
_FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int32: "int_val",
    tf.int64: "int64_val",
    tf.bool: "bool_val",
}


def fill_proto(proto: tensor_pb2.TensorProto, array: np.ndarray) -> None:
    """Writes `array` into the empty `proto`."""
    dtype = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
    if dtype != tf.string and dtype not in _FIELDS:
        proto.CopyFrom(tf.make_tensor_proto(array))
        return
    proto.dtype = dtype.as_datatype_enum
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_shape.SetInParent()
    getattr(proto, _FIELDS.get(dtype, "string_val")).extend(array.ravel().tolist())


def predict_response(
    name: str, version: int, signature: str, outputs: Mapping[str, np.ndarray]
) -> predict_pb2.PredictResponse:
    response = predict_pb2.PredictResponse(model_spec=model_spec(name, version, signature))
    for field, array in outputs.items():
        fill_proto(response.outputs[field], array)
    return response


def model_spec(name: str, version: int, signature: str = "") -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = version
    return spec


def metadata(name: str, version: int, model: SavedModel) -> get_model_metadata_pb2.GetModelMetadataResponse:
    response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=model_spec(name, version))
    response.metadata["signature_def"].Pack(_signature_map(model))
    return response


def metadata_json(name: str, version: int, model: SavedModel) -> dict:
    """Returns the metadata as TensorFlow Serving's REST API writes it: without the type of the `Any`."""
    return {
        "model_spec": as_json(model_spec(name, version)),
        "metadata": {"signature_def": as_json(_signature_map(model))},
    }


def as_json(message: Message) -> dict:
    """Returns what TensorFlow Serving's REST API writes: names as in the `.proto`, defaults too, 64-bit as strings."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _signature_map(model: SavedModel) -> get_model_metadata_pb2.SignatureDefMap:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in model.signature_def.items():
        signatures.signature_def[name].CopyFrom(definition)
    return signatures
