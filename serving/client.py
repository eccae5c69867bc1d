"""A client of TensorFlow Serving's APIs, and so of TensorFlow Serving and of the local server, over gRPC or REST."""

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self
from urllib.parse import quote, urlsplit

import grpc
import numpy as np
import tensorflow as tf
import urllib3
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from schema.served import RANK
from serving.model.messages import fill_proto
from serving.requests import Ranking, with_exponents

TIMEOUT_SECONDS = 10.0
_PORTS = {"grpc": 8500, "http": 8501}


class ClientError(Exception):
    """A request without a result: what was asked of which server, and its answer or why there is none.

    Attributes:
      code: the status by gRPC's name (`INVALID_ARGUMENT`) or HTTP's number; None where there is no answer.
    """

    def __init__(self, message: str, code: str | int | None = None):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Target:
    """Which model answers: the newest version, or the one of a number or a label."""

    name: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise ClientError(f"expected a version or a label, got version {self.version} and label {self.label!r}")


class Client(Protocol):
    """Speaks to one model of one server; of use to one thread at a time. Close it, or use it in a `with`."""

    address: str

    def prepare(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Any:
        """Returns the request in the protocol's own form, to be sent any number of times."""
        ...

    def send(self, prepared: Any) -> Any:
        """Sends a prepared request and returns the answer in the protocol's own form.

        Raises:
          ClientError: there is no answer, or it is an error.
        """
        ...

    def outputs(self, answer: Any) -> dict[str, np.ndarray]:
        """Returns an answer's tensors by name. REST doesn't tell the name of a signature's only output: `outputs`."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def connect(address: str, target: Target, timeout_seconds: float = TIMEOUT_SECONDS) -> Client:
    """Returns a client of the server at `grpc://host[:port]` or `http://host[:port]`; nothing is sent yet.

    Raises:
      ClientError: the address is of another form.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        parts, port = None, None
    if parts is None or parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/"):
        raise ClientError(
            f"expected an address such as grpc://localhost:8500 or http://localhost:8501, got {address!r}"
        )
    client_class = GrpcClient if parts.scheme == "grpc" else RestClient
    return client_class(parts.hostname, port or _PORTS[parts.scheme], target, timeout_seconds)


def predict(client: Client, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the outputs of `signature` for `inputs`, arrays of numbers or of bytes (dtype object), by name."""
    return client.outputs(client.send(client.prepare(signature, inputs)))


def rank(client: Client, inputs: Mapping[str, np.ndarray], exponents: np.ndarray | None = None) -> Ranking:
    """Ranks one user's candidates.

    Args:
      inputs: of the signature `rank` by name, as `serving.requests.rank_request` makes them.
      exponents: `w_k` of the fused score, a number per task; those in `inputs`, or the model's own, where None.

    Raises:
      ClientError: there is no answer, or it is an error.
    """
    outputs = predict(client, RANK, inputs if exponents is None else with_exponents(inputs, exponents))
    try:
        return Ranking.of(outputs)
    except ValueError as error:
        raise ClientError(f"{client.address}: {error}") from None


class _Closing(ABC):
    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class GrpcClient(_Closing):
    """PredictionService over gRPC."""

    def __init__(self, host: str, port: int, target: Target, timeout_seconds: float):
        host = f"[{host}]" if ":" in host else host
        self.address, self._timeout = f"grpc://{host}:{port}", timeout_seconds
        self._spec = predict_pb2.PredictRequest().model_spec
        self._spec.name = target.name
        if target.version is not None:
            self._spec.version.value = target.version
        elif target.label is not None:
            self._spec.version_label = target.label
        sizes = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(f"{host}:{port}", options=sizes)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def prepare(self, signature: str, inputs: Mapping[str, np.ndarray]) -> predict_pb2.PredictRequest:
        request = predict_pb2.PredictRequest(model_spec=self._spec)
        request.model_spec.signature_name = signature
        for name, array in inputs.items():
            fill_proto(request.inputs[name], array)
        return request

    def send(self, prepared: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        try:
            return self._stub.Predict(prepared, timeout=self._timeout)
        except grpc.RpcError as error:
            code = error.code()
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise ClientError(_late(self.address, self._timeout), code.name) from None
            if code == grpc.StatusCode.UNAVAILABLE:
                raise ClientError(f"{self.address}: can't be reached: {error.details()}", code.name) from None
            raise ClientError(f"{self.address}: {code.name}: {error.details()}", code.name) from None

    def outputs(self, answer: predict_pb2.PredictResponse) -> dict[str, np.ndarray]:
        return {name: tf.make_ndarray(proto) for name, proto in answer.outputs.items()}

    def close(self) -> None:
        self._channel.close()


class RestClient(_Closing):
    """The REST API in columns (`inputs`), over a connection that is kept open."""

    def __init__(self, host: str, port: int, target: Target, timeout_seconds: float):
        shown = f"[{host}]" if ":" in host else host
        self.address, self._timeout = f"http://{shown}:{port}", timeout_seconds
        self._path = f"/v1/models/{quote(target.name, safe='')}"
        if target.version is not None:
            self._path += f"/versions/{target.version}"
        elif target.label is not None:
            self._path += f"/labels/{quote(target.label, safe='')}"
        self._path += ":predict"
        self._pool = urllib3.HTTPConnectionPool(shown, port, timeout=timeout_seconds, retries=False)

    def prepare(self, signature: str, inputs: Mapping[str, np.ndarray]) -> bytes:
        columns = {name: _as_json(array.tolist()) for name, array in inputs.items()}
        return json.dumps({"signature_name": signature, "inputs": columns}).encode()

    def send(self, prepared: bytes) -> dict[str, Any]:
        try:
            response = self._pool.request("POST", self._path, prepared, headers={"Content-Type": "application/json"})
        except urllib3.exceptions.ReadTimeoutError:
            raise ClientError(_late(self.address, self._timeout)) from None
        except urllib3.exceptions.HTTPError as error:
            raise ClientError(f"{self.address}: can't be reached: {error}") from None
        try:
            answer = json.loads(response.data)
        except ValueError:
            answer = None
        if response.status != 200:
            reason = (
                answer.get("error", answer)
                if isinstance(answer, dict)
                else response.data[:200].decode(errors="replace")
            )
            raise ClientError(f"{self.address}: HTTP {response.status}: {reason}", response.status)
        if not isinstance(answer, dict) or "outputs" not in answer:
            raise ClientError(
                f"{self.address}: expected a JSON object with 'outputs', got {response.data[:200]!r}", 200
            )
        return answer

    def outputs(self, answer: dict[str, Any]) -> dict[str, np.ndarray]:
        columns = answer["outputs"]
        if not isinstance(columns, dict):
            columns = {"outputs": columns}
        return {name: _from_json(value) for name, value in columns.items()}

    def close(self) -> None:
        self._pool.close()


def _late(address: str, seconds: float) -> str:
    return f"{address}: no answer within {seconds:g} s"


def _as_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_json(element) for element in value]
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode("ascii")}


def _from_json(value: Any) -> np.ndarray:
    array = np.array(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array
