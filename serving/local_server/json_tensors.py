"""REST's JSON and tensors, as TensorFlow Serving's REST API says (https://www.tensorflow.org/tfx/serving/api_rest).

Rows:    {"instances": [{"user": "u", "price": 1.5}, …]}  ->  {"predictions": [{"like": 0.1, "share": 0.2}, …]}
Columns: {"inputs": {"user": ["u", …], "price": [1.5, …]}}  ->  {"outputs": {"like": [0.1, …], "share": [0.2, …]}}

The name is left out where there is only one input or output. Binary strings are {"b64": "…"}.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from serving.model.errors import invalid
from serving.model.saved_model import Signature, TensorSpec, shown

_MAX_RANK = 16


def parse(body: bytes) -> dict[str, Any]:
    """Returns the JSON object in a request's body."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse Error: {str(error)[:200]}") from None
    if not isinstance(request, dict):
        raise invalid(f"expected a JSON object with 'instances' or 'inputs', got {_named(request)}")
    if not isinstance(request.get("signature_name", ""), str):
        raise invalid(f"signature_name: expected a string, got {_named(request['signature_name'])}")
    if ("instances" in request) == ("inputs" in request):
        raise invalid("expected either 'instances' (rows) or 'inputs' (columns), and not both")
    return request


def read_inputs(request: Mapping[str, Any], signature: Signature) -> dict[str, np.ndarray]:
    """Returns the inputs of a parsed predict request by name. Names that `signature` does not have are refused."""
    columns = _columns(request["instances"], signature) if "instances" in request else request["inputs"]
    if not isinstance(columns, dict) or (_is_binary(columns) and len(signature.inputs) == 1):
        columns = {_only_input(signature): columns}
    unknown = columns.keys() - signature.inputs.keys()
    if unknown:
        sent, input_names = ", ".join(sorted(unknown))[:200], ", ".join(signature.inputs)
        raise invalid(f"signature {signature.name!r} has no input {sent}; its inputs are {input_names}")
    return {name: _array(value, signature.inputs[name]) for name, value in columns.items()}


def write_outputs(request: Mapping[str, Any], outputs: Mapping[str, np.ndarray]) -> bytes:
    """Returns the response's body, in rows or columns as the request was."""
    columns = {name: _plain(name, array) for name, array in outputs.items()}
    only = next(iter(columns.values())) if len(columns) == 1 else None
    if "inputs" in request:
        return _dump({"outputs": columns if only is None else only})
    sizes = {name: array.shape[0] if array.ndim else None for name, array in outputs.items()}
    if None in sizes.values() or len(set(sizes.values())) > 1:
        named = ", ".join(f"{name}{shown(array.shape)}" for name, array in outputs.items())
        raise invalid(f"outputs {named} do not share their first size, as rows must; ask in columns, with 'inputs'")
    if only is not None:
        return _dump({"predictions": only})
    rows = zip(*columns.values(), strict=True)
    return _dump({"predictions": [dict(zip(columns, row, strict=True)) for row in rows]})


def _columns(rows: Any, signature: Signature) -> Any:
    if not isinstance(rows, list):
        raise invalid(f"instances: expected a list, got {_named(rows)}")
    if not rows:
        raise invalid("instances: has no rows; an empty batch is sent in columns, with 'inputs'")
    if not isinstance(rows[0], dict) or (_is_binary(rows[0]) and len(signature.inputs) == 1):
        return rows
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != rows[0].keys():
            fields = ", ".join(sorted(rows[0]))[:200]
            got = ", ".join(sorted(row))[:200] if isinstance(row, dict) else _named(row)
            raise invalid(f"instances[{index}]: expected the same fields as instances[0] ({fields}), got {got}")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _only_input(signature: Signature) -> str:
    required = [name for name in signature.inputs if name not in signature.defaults]
    if len(required) != 1:
        raise invalid(f"signature {signature.name!r} has inputs {', '.join(signature.inputs)}: name them in an object")
    return required[0]


def _array(value: Any, spec: TensorSpec) -> np.ndarray:
    ragged = invalid(f"input {spec.name!r}: lists of unequal length or depth; expected shape {shown(spec.shape)}")
    try:
        array = np.array(value, dtype=object)
    except ValueError:
        raise ragged from None
    leaves = array.ravel().tolist()
    leaf_types = set(map(type, leaves))
    if list in leaf_types or array.ndim > _MAX_RANK:
        raise ragged
    expected, kinds = _accepted(spec.dtype)
    if not leaf_types <= kinds:
        wrong = next(leaf for leaf in leaves if type(leaf) not in kinds)
        raise invalid(f"input {spec.name!r}: expected {expected}, got {_named(wrong)}")
    shape = array.shape
    if not leaves and spec.shape is not None and len(shape) < len(spec.shape):
        # `[]` can't say what sizes follow the first; the signature does.
        shape = shape + tuple(size or 0 for size in spec.shape[len(shape) :])
    if spec.dtype == tf.string:
        strings = np.empty(len(leaves), dtype=object)
        strings[:] = [_bytes(leaf, spec.name) for leaf in leaves]
        return strings.reshape(shape)
    return _numbers(array, spec).reshape(shape)


def _accepted(dtype: tf.DType) -> tuple[str, set[type]]:
    """Returns what a JSON value of `dtype` is called, and the types that it is parsed to."""
    if dtype == tf.string:
        return 'a string or {"b64": …}', {str, dict}
    if dtype == tf.bool:
        return "true or false", {bool}
    return ("a whole number", {int}) if dtype.is_integer else ("a number", {int, float})


def _numbers(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    dtype = spec.dtype.as_numpy_dtype
    try:
        if spec.dtype.is_integer:
            bounds = np.iinfo(dtype)
            wide = array.astype(np.uint64 if dtype == np.uint64 else np.int64)
            if wide.size and (wide.min() < bounds.min or wide.max() > bounds.max):
                raise OverflowError
            return wide.astype(dtype)
        with np.errstate(over="ignore"):
            return array.astype(dtype)
    except OverflowError:
        raise invalid(f"input {spec.name!r}: a number is out of range for {spec.dtype.name}") from None


def _bytes(leaf: str | dict, name: str) -> bytes:
    if isinstance(leaf, str):
        try:
            return leaf.encode()
        except UnicodeEncodeError:
            raise invalid(f'input {name!r}: a string is not valid Unicode; send bytes as {{"b64": …}}') from None
    if not _is_binary(leaf):
        raise invalid(f'input {name!r}: expected a string or {{"b64": …}}, got {_named(leaf)}')
    try:
        return base64.b64decode(leaf["b64"], validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise invalid(f"input {name!r}: b64 does not hold base64") from None


def _is_binary(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"}


def _plain(name: str, array: np.ndarray) -> Any:
    """Returns an output as lists; `_bytes` at the end of its name marks it as binary."""
    if array.dtype != object:
        return array.tolist()
    encode = _b64 if name.endswith("_bytes") else lambda leaf: leaf.decode(errors="replace")
    leaves = np.empty(array.size, dtype=object)
    leaves[:] = [encode(leaf) for leaf in array.ravel()]
    return leaves.reshape(array.shape).tolist()


def _b64(leaf: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(leaf).decode("ascii")}


def _dump(response: dict) -> bytes:
    return json.dumps(response).encode()


def _named(value: Any) -> str:
    """Returns what a JSON value is, and its beginning, for a message."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    text = "" if isinstance(value, dict | list) else f" ({str(value)[:80]})"
    return kinds.get(type(value), "a number") + text
