"""A model that another server has, TensorFlow Serving or one that speaks as it does, and what its signatures are."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.model.errors import Code, ServingError
from serving.model.saved_model import PREDICT_METHOD, Signature

_PORT = 8500
# A server that comes back is found again within a second.
_RECONNECT_MS = 1_000
_SIGNATURES = "signature_def"

# A model's name, and the version or the label that a request names.
_Target: TypeAlias = tuple[str, int | None, str]


@dataclass(frozen=True)
class UpstreamModel:
    """The signatures of a version by name."""

    signatures: Mapping[str, Signature]


class Upstream:
    """A server of models over gRPC; of use to many threads at once. All that is asked of it has a deadline.

    Attributes:
      address: `grpc://HOST:PORT`.
    """

    def __init__(self, address: str, timeout_seconds: float, refresh_seconds: float = 1.0):
        """Takes an address, without asking there yet.

        Args:
          timeout_seconds: how long an answer may take.
          refresh_seconds: how often it is asked anew for signatures that were needed before.

        Raises:
          ValueError: it is no such address.
        """
        host, port = _parts(address)
        self.address, self._timeout = f"grpc://{host}:{port}", timeout_seconds
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
        ]
        self._channel = grpc.insecure_channel(f"{host}:{port}", options=options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._model = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._models: dict[_Target, UpstreamModel] = {}
        self._closed = threading.Event()
        self._refresher = threading.Thread(target=self._refresh, args=[refresh_seconds], name="upstream", daemon=True)
        self._refresher.start()

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Returns its answer to a request.

        Raises:
          ServingError: what it refuses; UNAVAILABLE where it can't be reached, or doesn't answer in time.
        """
        return self._call(self._prediction.Predict, request)

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Returns its answer to a request for signatures; raises ServingError as `predict` does."""
        return self._call(self._prediction.GetModelMetadata, request)

    def status(self, spec: model_pb2.ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns where each version stands; raises ServingError as `predict` does."""
        return self._call(self._model.GetModelStatus, get_model_status_pb2.GetModelStatusRequest(model_spec=spec))

    def model(self, spec: model_pb2.ModelSpec) -> UpstreamModel:
        """Returns the signatures of the model that a request is for; they are kept and asked for anew in turns.

        Raises:
          ServingError: as `predict` does.
        """
        version = spec.version.value if spec.HasField("version") else None
        target = spec.name, version, spec.version_label
        model = self._models.get(target)
        if model is None:
            model = self._models[target] = self._read(target)
        return model

    def close(self) -> None:
        """Ends the connection."""
        self._closed.set()
        self._channel.close()
        self._refresher.join()

    def _read(self, target: _Target) -> UpstreamModel:
        name, version, label = target
        spec = model_pb2.ModelSpec(name=name)
        if version is not None:
            spec.version.value = version
        elif label:
            spec.version_label = label
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[_SIGNATURES])
        declared = signature_map(self.metadata(request)).signature_def
        return UpstreamModel(
            {
                signature: Signature.of(signature, definition)
                for signature, definition in declared.items()
                if definition.method_name == PREDICT_METHOD
            }
        )

    def _refresh(self, seconds: float) -> None:
        while not self._closed.wait(seconds):
            for target in list(self._models):
                try:
                    self._models[target] = self._read(target)
                except ServingError as error:
                    # What it doesn't have any more is asked for when it is needed again; a pause changes nothing.
                    if error.code != Code.UNAVAILABLE:
                        self._models.pop(target, None)
                except ValueError:
                    # The channel was closed meanwhile.
                    return

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise self._told(error) from None

    def _told(self, error: Any) -> ServingError:
        status, details = error.code(), error.details() or ""
        if status in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
            return ServingError(
                Code.UNAVAILABLE, f"upstream {self.address}: no answer within {self._timeout:g} s; {details}"
            )
        if status == grpc.StatusCode.UNAVAILABLE:
            return ServingError(Code.UNAVAILABLE, f"upstream {self.address}: can't be reached: {details}")
        return ServingError(Code(status.value[0]), details)


def signature_map(answer: get_model_metadata_pb2.GetModelMetadataResponse) -> get_model_metadata_pb2.SignatureDefMap:
    """Returns the signatures in an answer; none where it has none.

    Raises:
      ServingError: INTERNAL where they are something else.
    """
    signatures = get_model_metadata_pb2.SignatureDefMap()
    try:
        answer.metadata[_SIGNATURES].Unpack(signatures)
    except DecodeError as error:
        raise ServingError(Code.INTERNAL, f"upstream: its signatures can't be read: {error}") from None
    return signatures


def _parts(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = None, None, None
    if parts is None or parts.scheme != "grpc" or not host or parts.path.strip("/"):
        raise ValueError(f"expected the address of a server's gRPC, such as grpc://localhost:8500, got {address!r}")
    return f"[{host}]" if ":" in host else host, port or _PORT
