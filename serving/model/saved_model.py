"""One version of a model, loaded: its signatures, and how to run them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from schema.columns import example_columns
from schema.served import SPEC_FILE
from schema.spec import RankingSpec
from serving.model.errors import Code, ServingError, invalid
from serving.model.tensorflow_c import Session, Tensor

# Of the signatures that take tensors by name.
PREDICT_METHOD = "tensorflow/serving/predict"


@dataclass(frozen=True)
class TensorSpec:
    """What a signature says of a tensor; `shape` is None for an unknown rank, and holds None for an unknown size."""

    name: str
    dtype: tf.DType
    shape: tuple[int | None, ...] | None

    @classmethod
    def of(cls, name: str, info: meta_graph_pb2.TensorInfo) -> "TensorSpec":
        shape = info.tensor_shape
        sizes = None if shape.unknown_rank else tuple(None if dim.size < 0 else dim.size for dim in shape.dim)
        return cls(name, tf.as_dtype(info.dtype), sizes)

    # TensorFlow's own types take microseconds to compare, and each input of a request is compared.
    @cached_property
    def array_dtype(self) -> np.dtype:
        """Returns the type of its arrays; of texts that of objects."""
        return np.dtype(object if self.dtype == tf.string else self.dtype.as_numpy_dtype)

    @cached_property
    def datatype(self) -> int:
        """Returns its type's number in messages."""
        return self.dtype.as_datatype_enum

    @cached_property
    def is_floating(self) -> bool:
        """Returns whether its values may be NaN or infinite."""
        return self.dtype.is_floating

    def fits(self, shape: Sequence[int]) -> bool:
        return self.shape is None or (
            len(self.shape) == len(shape)
            and all(size in (None, actual) for size, actual in zip(self.shape, shape, strict=True))
        )

    def __str__(self) -> str:
        return f"{self.dtype.name}{shown(self.shape)}"


def shown(shape: Sequence[int | None] | None) -> str:
    """Returns a shape for a message: `[2,?]`."""
    return "[...]" if shape is None else f"[{','.join('?' if size is None else str(size) for size in shape)}]"


@dataclass(frozen=True)
class Signature:
    """A signature's inputs, outputs, and the inputs that a request may leave out, by name."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    defaults: Mapping[str, tensor_pb2.TensorProto]

    @classmethod
    def of(cls, name: str, definition: meta_graph_pb2.SignatureDef) -> "Signature":
        """Returns the signature of dense tensors that a SavedModel declares.

        Raises:
          ServingError: a tensor is sparse or ragged.
        """
        for field, info in (*definition.inputs.items(), *definition.outputs.items()):
            if info.WhichOneof("encoding") != "name":
                raise invalid(f"signature {name!r}: {field!r} is a sparse or ragged tensor; expected a dense one")
        return cls(
            name,
            {field: TensorSpec.of(field, info) for field, info in sorted(definition.inputs.items())},
            {field: TensorSpec.of(field, info) for field, info in sorted(definition.outputs.items())},
            dict(definition.defaults),
        )


class SavedModel:
    """A SavedModel under TensorFlow's C++ loader, as TensorFlow Serving would have it.

    Attributes:
      signatures: its signatures by name.
      may_be_nan: the inputs in which NaN is a missing number and not a mistake.
    """

    def __init__(self, path: Path, intra_op_threads: int = 0, inter_op_threads: int = 0):
        """Loads the folder `path`. A thread number of 0 lets TensorFlow choose.

        Raises:
          ServingError: it can't be served; the reason.
        """
        self.path = path
        self.may_be_nan = may_be_nan(path)
        if not (path / "saved_model.pb").is_file():
            raise ServingError(Code.NOT_FOUND, f"{path.name} has no saved_model.pb")
        # With threads of its own, a version that loads or warms up leaves those of the serving one alone.
        config = config_pb2.ConfigProto(
            use_per_session_threads=True,
            intra_op_parallelism_threads=intra_op_threads,
            inter_op_parallelism_threads=inter_op_threads,
        )
        try:
            self._session = Session(path, config=config)
        except ServingError as error:
            raise ServingError(error.code, f"{path.name} can't be loaded: {tensorflow_reason(error)}") from None
        try:
            self._bind()
        except BaseException:
            self._session.close()
            raise

    def _bind(self) -> None:
        meta_graph = self._session.meta_graph
        _check_variables(self.path, meta_graph)
        self.signature_def = meta_graph_pb2.MetaGraphDef(signature_def=meta_graph.signature_def).signature_def
        self.signatures: dict[str, Signature] = {}
        self._inputs, self._outputs = {}, {}
        for name, definition in meta_graph.signature_def.items():
            if definition.method_name != PREDICT_METHOD:
                continue
            self.signatures[name] = Signature.of(name, definition)
            self._inputs[name] = {field: self._session.endpoint(i.name) for field, i in definition.inputs.items()}
            self._outputs[name] = {field: self._session.endpoint(i.name) for field, i in definition.outputs.items()}
        if not self.signatures:
            raise invalid(f"{self.path.name} has no signature to predict with")
        # The graph is the session's; kept here it would only take memory twice.
        self._session.meta_graph = meta_graph_pb2.MetaGraphDef()

    def run(self, signature: Signature, feeds: Mapping[str, Tensor], outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns the named `outputs` for `feeds`, which hold every input of `signature` and stay the caller's."""
        endpoints = self._outputs[signature.name]
        results = self._session.run(feeds, self._inputs[signature.name], [endpoints[name] for name in outputs])
        try:
            return {name: tensor.numpy() for name, tensor in zip(outputs, results, strict=True)}
        finally:
            for tensor in results:
                tensor.close()

    def close(self) -> None:
        """Unloads it. No `run` may be under way, and none may follow."""
        self._session.close()


def may_be_nan(path: Path) -> frozenset[str]:
    """Returns the columns of the model's spec with numbers that may be missing; none without a spec that is read."""
    try:
        columns = example_columns(RankingSpec.from_json((path / SPEC_FILE).read_text()))
    except (OSError, ValueError):
        return frozenset()
    return frozenset(column.name for column in columns if isinstance(column.missing, float))


def _check_variables(path: Path, meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
    """Refuses a model whose variables are missing: TensorFlow loads it, and only its first request fails."""
    has_variables = any(node.op in ("VarHandleOp", "VariableV2") for node in meta_graph.graph_def.node)
    if has_variables and not (path / "variables" / "variables.index").is_file():
        raise ServingError(Code.NOT_FOUND, f"{path.name} has variables, but no variables/variables.index")


def tensorflow_reason(error: ServingError) -> str:
    """Returns TensorFlow's message without the graph's nodes that follow it, which mean nothing to its reader."""
    return re.split(r"\s*\[\[|\n", error.message)[0]


def broken_promises(serving: Mapping[str, Signature], candidate: Mapping[str, Signature]) -> list[str]:
    """Says in what `candidate` breaks requests that `serving` answers; empty where clients would not notice the change.

    Signatures and outputs may be added, and inputs that have a default; none may go, or change its type or shape.
    """
    problems = []
    for name, old in sorted(serving.items()):
        new = candidate.get(name)
        if new is None:
            problems.append(f"signature {name!r} is gone")
            continue
        for role, before, after in (("input", old.inputs, new.inputs), ("output", old.outputs, new.outputs)):
            for field, spec in before.items():
                if field not in after:
                    problems.append(f"signature {name!r}: {role} {field!r} is gone")
                elif (after[field].dtype, after[field].shape) != (spec.dtype, spec.shape):
                    problems.append(f"signature {name!r}: {role} {field!r} was {spec}, is {after[field]}")
        needed = new.inputs.keys() - old.inputs.keys() - new.defaults.keys()
        needed |= (old.defaults.keys() & new.inputs.keys()) - new.defaults.keys()
        problems += [f"signature {name!r}: input {field!r} is required now" for field in sorted(needed)]
    return problems
