"""A prediction: tensors in by name, checked against the signature, run, tensors out by name. gRPC and REST share it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from schema.served import SERVING_DEFAULT
from serving.model.errors import Code, ServingError, invalid
from serving.model.saved_model import SavedModel, Signature, TensorSpec, shown, tensorflow_reason
from serving.model.tensorflow_c import STRING_BYTES, Tensor

Value: TypeAlias = tensor_pb2.TensorProto | np.ndarray


@dataclass(frozen=True)
class Limits:
    """What a request may ask for at most.

    Attributes:
      request_bytes: size of a request's body, and of each tensor that it declares.
      batch: size of any input's first dimension: candidates, or examples.
      finite: whether NaN and infinity are refused in the inputs, but for NaN where it is a missing number
        (`SavedModel.may_be_nan`). TensorFlow Serving lets them through.
    """

    request_bytes: int = 32 << 20
    batch: int = 100_000
    finite: bool = True


class Signed(Protocol):
    """A model as far as its signatures go, by name."""

    @property
    def signatures(self) -> Mapping[str, Signature]: ...


def find_signature(model: Signed, name: str) -> Signature:
    name = name or SERVING_DEFAULT
    if name not in model.signatures:
        names = ", ".join(sorted(model.signatures))
        raise invalid(f'Serving signature key "{_brief(name)}" not found; the model has {names}')
    return model.signatures[name]


def predict(
    model: SavedModel, signature: Signature, inputs: Mapping[str, Value], output_filter: Sequence[str], limits: Limits
) -> dict[str, np.ndarray]:
    """Returns the outputs of `signature` by name, all of them where `output_filter` is empty.

    Raises:
      ServingError: INVALID_ARGUMENT where the inputs do not fit; the message names the field.
    """
    outputs = _wanted_outputs(signature, output_filter)
    _check_names(signature, inputs)
    feeds: dict[str, Tensor] = {}
    try:
        for name, spec in signature.inputs.items():
            value = inputs.get(name, signature.defaults.get(name))
            feeds[name] = _to_tensor(spec, value, limits, may_be_nan=name in model.may_be_nan)
        return model.run(signature, feeds, outputs)
    except ServingError as error:
        # What TensorFlow says of an operation means little to the caller; the shapes that were sent do.
        if error.code in (Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE) and len(feeds) == len(signature.inputs):
            sent = ", ".join(f"{name}{shown(_shape(inputs[name]))}" for name in sorted(inputs))
            reason = tensorflow_reason(error)
            raise invalid(f"signature {signature.name!r} can't take inputs {sent}: {reason}") from None
        raise
    finally:
        for tensor in feeds.values():
            tensor.close()


def _wanted_outputs(signature: Signature, output_filter: Sequence[str]) -> Sequence[str]:
    if not output_filter:
        return list(signature.outputs)
    for name in output_filter:
        if name not in signature.outputs:
            names = ", ".join(signature.outputs)
            raise invalid(f"output tensor alias not found in signature: {_brief(name)}; expected one of {names}")
        if list(output_filter).count(name) > 1:
            raise invalid(f"duplicate output tensor alias: {name}")
    return output_filter


def _check_names(signature: Signature, inputs: Mapping[str, Value]) -> None:
    extra = inputs.keys() - signature.inputs.keys()
    missing = signature.inputs.keys() - inputs.keys() - signature.defaults.keys()
    if extra or missing:
        raise invalid(
            f"inputs do not match signature {signature.name!r}. "
            f"Sent extra: {{{_brief(','.join(sorted(extra)))}}}. Missing but required: {{{','.join(sorted(missing))}}}."
        )


def _to_tensor(spec: TensorSpec, value: Value, limits: Limits, may_be_nan: bool) -> Tensor:
    is_proto = isinstance(value, tensor_pb2.TensorProto)
    if (value.dtype != spec.datatype) if is_proto else (value.dtype != spec.array_dtype):
        dtype = value.dtype if is_proto or value.dtype != object else tf.string
        raise invalid(f"input {spec.name!r}: expected {spec.dtype.name}, got {_dtype_name(dtype)}")
    shape = _shape(value)
    if shape is None or not spec.fits(shape):
        raise invalid(f"input {spec.name!r}: expected shape {shown(spec.shape)}, got {shown(shape)}")
    if shape and shape[0] > limits.batch:
        raise invalid(f"input {spec.name!r}: {shape[0]:,} is above the limit of {limits.batch:,}")
    # A TensorProto may declare more than it holds: its last value is repeated.
    declared = math.prod(shape) * (STRING_BYTES if spec.array_dtype.hasobject else spec.array_dtype.itemsize)
    if declared > limits.request_bytes:
        raise invalid(
            f"input {spec.name!r}: shape {shown(shape)} takes {declared:,} bytes, limit {limits.request_bytes:,}"
        )
    if not is_proto:
        if limits.finite and spec.is_floating:
            _check_finite(spec, value, may_be_nan)
        return Tensor.from_texts(value) if spec.array_dtype.hasobject else Tensor.from_numpy(value)
    try:
        tensor = Tensor.from_proto(value)
    except ServingError:
        raise invalid(f"input {spec.name!r}: its values do not fill {spec.dtype.name}{shown(shape)}") from None
    if limits.finite and spec.is_floating:
        try:
            _check_finite(spec, tensor.numpy(), may_be_nan)
        except ServingError:
            tensor.close()
            raise
    return tensor


def _check_finite(spec: TensorSpec, numbers: np.ndarray, may_be_nan: bool) -> None:
    refused = np.isinf(numbers) if may_be_nan else ~np.isfinite(numbers)
    if refused.any():
        expected = "finite numbers, or NaN for a missing one" if may_be_nan else "finite numbers"
        raise invalid(f"input {spec.name!r}: holds {numbers[refused].flat[0]}; expected {expected}")


def _shape(value: Value) -> tuple[int, ...] | None:
    if isinstance(value, np.ndarray):
        return value.shape
    if value.tensor_shape.unknown_rank or any(dim.size < 0 for dim in value.tensor_shape.dim):
        return None
    return tuple(dim.size for dim in value.tensor_shape.dim)


def _dtype_name(dtype: int | tf.DType) -> str:
    try:
        return tf.as_dtype(dtype).name
    except TypeError:
        return f"unknown type {dtype}"


def _brief(text: str, limit: int = 200) -> str:
    """Returns what came with the request, cut to a length that may stand in a message."""
    return text if len(text) <= limit else f"{text[:limit]}…"
