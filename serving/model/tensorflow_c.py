"""TensorFlow's C API, as far as serving needs it: load a SavedModel, run it, and move tensors in and out.

The only unsafe code of the project: pointers, buffers and their lifetimes are this file's own care, and a mistake here
ends the process.

This is the loader and the session of TensorFlow Serving. Through it no graph is built in Python, and `ctypes` gives the
interpreter's lock back during every call, so that requests go on while the next version loads: loaders in Python hold
it for tens of milliseconds while they import the graph. The API is in the package's `include/tensorflow/c/c_api.h`.
"""

import ctypes
import math
import sys
from collections.abc import Mapping, Sequence
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from serving.model.errors import Code, ServingError


class _Buffer(ctypes.Structure):
    _fields_ = (("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p))


class _Output(ctypes.Structure):
    _fields_ = (("operation", c_void_p), ("index", c_int))


_TENSORS = (POINTER(_Output), POINTER(c_void_p), c_int)
# name: (result, arguments)
_FUNCTIONS: dict[str, tuple] = {
    "TF_NewStatus": (c_void_p, ()),
    "TF_DeleteStatus": (None, (c_void_p,)),
    "TF_GetCode": (c_int, (c_void_p,)),
    "TF_Message": (c_char_p, (c_void_p,)),
    "TF_NewBuffer": (POINTER(_Buffer), ()),
    "TF_DeleteBuffer": (None, (POINTER(_Buffer),)),
    "TF_NewSessionOptions": (c_void_p, ()),
    "TF_SetConfig": (None, (c_void_p, c_char_p, c_size_t, c_void_p)),
    "TF_DeleteSessionOptions": (None, (c_void_p,)),
    "TF_NewGraph": (c_void_p, ()),
    "TF_DeleteGraph": (None, (c_void_p,)),
    "TF_GraphOperationByName": (c_void_p, (c_void_p, c_char_p)),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        (c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(_Buffer), c_void_p),
    ),
    "TF_SessionRun": (
        None,
        (c_void_p, c_void_p, *_TENSORS, *_TENSORS, c_void_p, c_int, c_void_p, c_void_p),
    ),
    "TF_CloseSession": (None, (c_void_p, c_void_p)),
    "TF_DeleteSession": (None, (c_void_p, c_void_p)),
    "TF_AllocateTensor": (c_void_p, (c_int, POINTER(c_int64), c_int, c_size_t)),
    "TF_TensorFromProto": (None, (POINTER(_Buffer), c_void_p, c_void_p)),
    "TF_DeleteTensor": (None, (c_void_p,)),
    "TF_TensorType": (c_int, (c_void_p,)),
    "TF_NumDims": (c_int, (c_void_p,)),
    "TF_Dim": (c_int64, (c_void_p, c_int)),
    "TF_TensorByteSize": (c_size_t, (c_void_p,)),
    "TF_TensorData": (c_void_p, (c_void_p,)),
    "TF_StringGetDataPointer": (c_void_p, (c_void_p,)),
    "TF_StringGetSize": (c_size_t, (c_void_p,)),
}
_CODES = {int(code): code for code in Code}
_STRING = tf.string.as_datatype_enum
STRING_BYTES = 24  # sizeof(TF_TString) in tensorflow/core/platform/ctstring.h
# Texts up to this length lie within a `TF_TString`: a byte of 4 times the length, the text, and a NUL byte at least.
_SHORT_BYTES = STRING_BYTES - 2


@cache
def _library() -> ctypes.CDLL:
    name = "libtensorflow_cc.2.dylib" if sys.platform == "darwin" else "libtensorflow_cc.so.2"
    library = ctypes.CDLL(str(Path(tf.sysconfig.get_lib()) / name))
    for function, (result, arguments) in _FUNCTIONS.items():
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library


@cache
def _datatype(dtype: np.dtype) -> int:
    return tf.as_dtype(dtype).as_datatype_enum


class _Status:
    """A `TF_Status` for one block of calls; leaving the block raises what it holds."""

    def __enter__(self) -> c_void_p:
        self._pointer = _library().TF_NewStatus()
        return self._pointer

    def __exit__(self, kind: type | None, *_: object) -> None:
        library = _library()
        code = library.TF_GetCode(self._pointer)
        message = library.TF_Message(self._pointer).decode(errors="replace") if code else ""
        library.TF_DeleteStatus(self._pointer)
        if code and kind is None:
            raise ServingError(_CODES.get(code, Code.UNKNOWN), message)


class Tensor:
    """A tensor in TensorFlow's memory; `close` gives the memory back."""

    def __init__(self, pointer: int):
        self._pointer: int | None = pointer

    @classmethod
    def from_proto(cls, proto: tensor_pb2.TensorProto) -> "Tensor":
        """Raises ServingError (INVALID_ARGUMENT) where the values do not fit the declared type and shape."""
        library, content = _library(), proto.SerializeToString()
        buffer = _Buffer(ctypes.cast(c_char_p(content), c_void_p), len(content), None)
        tensor = cls(library.TF_AllocateTensor(proto.dtype, (c_int64 * 1)(0), 1, 0))
        try:
            with _Status() as status:
                library.TF_TensorFromProto(ctypes.byref(buffer), tensor.pointer, status)
        except ServingError as error:
            tensor.close()
            raise ServingError(Code.INVALID_ARGUMENT, error.message) from None
        return tensor

    @classmethod
    def from_numpy(cls, array: np.ndarray) -> "Tensor":
        """Makes one of an array of numbers or truth values; texts go through `from_texts`."""
        array = np.asarray(array, order="C")
        return cls._filled(_datatype(array.dtype), array.shape, array)

    @classmethod
    def from_texts(cls, texts: np.ndarray) -> "Tensor":
        """Makes one of an array of objects, all of them bytes."""
        flat = texts.ravel()
        lengths = np.fromiter(map(len, flat), np.int64, len(flat))
        if not len(flat) or lengths.max() > _SHORT_BYTES or sys.byteorder != "little":
            return cls.from_proto(string_proto(texts))
        strings = np.zeros((len(flat), STRING_BYTES), np.uint8)
        strings[:, 0] = lengths << 2
        strings[:, 1:-1] = flat.astype(f"S{_SHORT_BYTES}").view(np.uint8).reshape(-1, _SHORT_BYTES)
        return cls._filled(_STRING, texts.shape, strings)

    @classmethod
    def _filled(cls, dtype: int, shape: Sequence[int], content: np.ndarray) -> "Tensor":
        """Returns a tensor whose memory holds the bytes of `content`."""
        library = _library()
        sizes = (c_int64 * len(shape))(*shape)
        tensor = cls(library.TF_AllocateTensor(dtype, sizes, len(shape), content.nbytes))
        ctypes.memmove(library.TF_TensorData(tensor.pointer), content.ctypes.data, content.nbytes)
        return tensor

    @property
    def pointer(self) -> int:
        if self._pointer is None:
            raise RuntimeError("this tensor's memory has been given back")
        return self._pointer

    def numpy(self) -> np.ndarray:
        """Returns a copy as an array; strings as an object array of bytes."""
        library, pointer = _library(), self.pointer
        shape = tuple(library.TF_Dim(pointer, axis) for axis in range(library.TF_NumDims(pointer)))
        datatype = library.TF_TensorType(pointer)
        dtype = object if datatype == _STRING else tf.as_dtype(datatype).as_numpy_dtype
        if math.prod(shape) == 0:  # has perhaps no memory, and asking for its address would be a crash
            return np.empty(shape, dtype)
        start, size = library.TF_TensorData(pointer), library.TF_TensorByteSize(pointer)
        if dtype is object:
            strings = np.empty(size // STRING_BYTES, dtype=object)
            for index in range(len(strings)):
                string = start + index * STRING_BYTES
                strings[index] = ctypes.string_at(
                    library.TF_StringGetDataPointer(string), library.TF_StringGetSize(string)
                )
            return strings.reshape(shape)
        return np.frombuffer(ctypes.string_at(start, size), dtype).reshape(shape)

    def close(self) -> None:
        if self._pointer is not None:
            _library().TF_DeleteTensor(self._pointer)
            self._pointer = None


def string_proto(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Returns the proto of an object array of bytes."""
    proto = tensor_pb2.TensorProto(dtype=_STRING, string_val=array.ravel().tolist())
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


class Session:
    """A loaded SavedModel. `run` may be called from many threads at once; `close` only once none of them runs."""

    def __init__(
        self, path: str | Path, tags: Sequence[str] = ("serve",), config: config_pb2.ConfigProto | None = None
    ):
        """Loads `path` as TensorFlow Serving does: graph, variables, then the initialisers (vocabularies).

        Raises:
          ServingError: with TensorFlow's reason.
        """
        library = _library()
        settings = (config or config_pb2.ConfigProto()).SerializeToString()
        options, buffer = library.TF_NewSessionOptions(), library.TF_NewBuffer()
        self._graph, self._session = library.TF_NewGraph(), None
        try:
            with _Status() as status:
                library.TF_SetConfig(options, settings, len(settings), status)
            with _Status() as status:
                self._session = library.TF_LoadSessionFromSavedModel(
                    options,
                    None,
                    str(path).encode(),
                    (c_char_p * len(tags))(*(tag.encode() for tag in tags)),
                    len(tags),
                    self._graph,
                    buffer,
                    status,
                )
            content = ctypes.string_at(buffer.contents.data, buffer.contents.length)
            self.meta_graph = meta_graph_pb2.MetaGraphDef.FromString(content)
        except BaseException:
            self.close()
            raise
        finally:
            library.TF_DeleteSessionOptions(options)
            library.TF_DeleteBuffer(buffer)

    def endpoint(self, tensor_name: str) -> _Output:
        """Returns where the tensor `operation:index` comes out of the graph."""
        operation, _, index = tensor_name.partition(":")
        pointer = _library().TF_GraphOperationByName(self._graph, operation.encode())
        if not pointer:
            raise ServingError(Code.INVALID_ARGUMENT, f"the graph has no operation {operation!r}")
        return _Output(pointer, int(index or 0))

    def run(
        self, feeds: Mapping[str, Tensor], inputs: Mapping[str, _Output], outputs: Sequence[_Output]
    ) -> list[Tensor]:
        """Returns the tensors at `outputs`, `feeds[name]` standing at `inputs[name]`. The caller closes all of them."""
        fed = (_Output * len(feeds))(*(inputs[name] for name in feeds))
        values = (c_void_p * len(feeds))(*(tensor.pointer for tensor in feeds.values()))
        fetched, results = (_Output * len(outputs))(*outputs), (c_void_p * len(outputs))()
        with _Status() as status:
            _library().TF_SessionRun(
                self._session, None, fed, values, len(feeds), fetched, results, len(outputs), None, 0, None, status
            )
        return [Tensor(pointer) for pointer in results if pointer is not None]

    def close(self) -> None:
        library = _library()
        if self._session is not None:
            for end in (library.TF_CloseSession, library.TF_DeleteSession):
                with _Status() as status:
                    end(self._session, status)
            self._session = None
        if self._graph is not None:
            library.TF_DeleteGraph(self._graph)
            self._graph = None
