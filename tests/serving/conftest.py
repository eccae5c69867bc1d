"""A small real model, servers of it, and clients that speak either protocol.

To run the contract tests against a real TensorFlow Serving too, export the model, serve it, and give its addresses:

    python tests/serving/conftest.py /some/where
    docker run --rm -p 8500:8500 -p 8501:8501 -v /some/where:/models tensorflow/serving \
        --model_config_file=/models/models.config --allow_version_labels_for_unavailable_models=true
    FULCRUM_TF_SERVING_GRPC=localhost:8500 FULCRUM_TF_SERVING_REST=localhost:8501 pytest tests/serving/contract_test.py
"""

import base64
import http.client
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

MODEL = "toy"
LABELS = {"stable": 1, "canary": 2}


class Toy(tf.Module):
    """y = 2x + version; a vocabulary, strings, several outputs, an input with a default, a partly known shape."""

    def __init__(self, version: float, vocabulary: str):
        super().__init__()
        self.version = tf.Variable(float(version))
        initializer = tf.lookup.TextFileInitializer(vocabulary, tf.string, -2, tf.int64, -1)
        self.table = tf.lookup.StaticHashTable(initializer, default_value=-1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def line(self, x):
        return {"y": 2.0 * x + self.version}

    @tf.function(
        input_signature=[
            tf.TensorSpec([1], tf.string, name="user"),
            tf.TensorSpec([None], tf.string, name="item"),
            tf.TensorSpec([None], tf.float32, name="price"),
        ]
    )
    def rank(self, user, item, price):
        score = tf.cast(self.table.lookup(item), tf.float32) + price + self.version
        likes = tf.strings.join([tf.repeat(user, tf.size(item)), item], separator="+")
        return {"score": score, "order": tf.argsort(score, direction="DESCENDING"), "pair": likes}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def texts(self, text):
        return {"same": text, "raw_bytes": text, "length": tf.cast(tf.strings.length(text), tf.int64)}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 2], tf.int64, name="pair"), tf.TensorSpec([None], tf.bool, name="keep")]
    )
    def typed(self, pair, keep):
        return {"total": tf.reduce_sum(pair, axis=1), "keep": tf.logical_not(keep)}

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.float32, name="x"), tf.TensorSpec([2], tf.float32, name="weights")]
    )
    def weighted(self, x, weights=tf.constant([1.0, 3.0])):  # noqa: B008 (a signature's default is a tensor)
        return {"y": x * tf.reduce_sum(weights)}


SIGNATURES = ("rank", "texts", "typed", "weighted")


def export_toy(folder: Path, version: float, signatures: tuple[str, ...] = SIGNATURES) -> Path:
    """Writes a Toy whose constant is `version` into `folder`."""
    vocabulary = folder.parent / f"{folder.name}.vocabulary"
    vocabulary.parent.mkdir(parents=True, exist_ok=True)
    vocabulary.write_text("apple\npear\nplum\n")
    toy = Toy(version, str(vocabulary))
    named = {name: getattr(toy, name) for name in signatures}
    tf.saved_model.save(toy, str(folder), signatures={"serving_default": toy.line, **named})
    vocabulary.unlink()
    return folder


def write_warm_up(folder: Path, requests: list[predict_pb2.PredictRequest]) -> None:
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def make_request(signature: str = "", spec: Mapping | None = None, **inputs) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.CopyFrom(make_spec(**(spec or {})))
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def make_spec(name: str = MODEL, version: int | None = None, label: str | None = None) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=name)
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label
    return spec


class RefusedError(Exception):
    """What a server answered instead of a result: `code` by gRPC's name or HTTP's number, and the message."""

    def __init__(self, code: str | int, message: str):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


@dataclass
class GrpcClient:
    address: str

    def __post_init__(self):
        self.channel = grpc.insecure_channel(self.address, options=[("grpc.max_send_message_length", -1)])
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def call(self, method, request):
        try:
            return method(request, timeout=30)
        except grpc.RpcError as error:
            raise RefusedError(error.code().name, error.details()) from None

    def predict(self, signature="", spec=None, **inputs) -> dict[str, np.ndarray]:
        response = self.call(self.prediction.Predict, make_request(signature, spec, **inputs))
        return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}

    def status(self, **spec) -> list[dict]:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=make_spec(**spec))
        answer = self.call(self.model.GetModelStatus, request)
        as_dict = json_format.MessageToDict(
            answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        return as_dict["model_version_status"]

    def metadata(self, **spec) -> tuple[int, dict]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=make_spec(**spec), metadata_field=["signature_def"]
        )
        answer = self.call(self.prediction.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        as_dict = json_format.MessageToDict(signatures, preserving_proto_field_name=True)
        return answer.model_spec.version.value, as_dict["signature_def"]


@dataclass
class RestClient:
    address: str

    def request(self, method: str, path: str, body: bytes | str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: object = None) -> dict:
        status, answer = self.request(method, path, None if body is None else json.dumps(body))
        if status != 200:
            raise RefusedError(status, json.loads(answer)["error"])
        return json.loads(answer)

    def path(self, name: str = MODEL, version: int | None = None, label: str | None = None) -> str:
        target = f"/versions/{version}" if version is not None else f"/labels/{label}" if label is not None else ""
        return f"/v1/models/{name}{target}"

    def predict(self, signature="", spec=None, **inputs) -> dict[str, np.ndarray]:
        body: dict = {"inputs": {name: _as_json(value) for name, value in inputs.items()}}
        if signature:
            body["signature_name"] = signature
        outputs = self.json("POST", self.path(**(spec or {})) + ":predict", body)["outputs"]
        named = outputs if isinstance(outputs, dict) else {"y": outputs}
        return {name: np.array(_from_json(value)) for name, value in named.items()}

    def status(self, **spec) -> list[dict]:
        return self.json("GET", self.path(**spec))["model_version_status"]

    def metadata(self, **spec) -> tuple[int, dict]:
        answer = self.json("GET", self.path(**spec) + "/metadata")
        return int(answer["model_spec"]["version"]), answer["metadata"]["signature_def"]["signature_def"]


def _as_json(value):
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _from_json(value):
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return value.encode() if isinstance(value, str) else value


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A folder with version n of the toy, made once, to be copied."""
    exported: dict[int, Path] = {}

    def toy(version: int) -> Path:
        if version not in exported:
            exported[version] = export_toy(tmp_path_factory.mktemp("toys") / str(version), version)
        return exported[version]

    return toy


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    path = tmp_path / MODEL
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def contract_server(toys: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """The local server with versions 1 and 2, labelled."""
    from serving.local_server.directory import VersionPolicy
    from serving.local_server.server import ModelServer, ServerOptions

    base_path = tmp_path_factory.mktemp("models") / MODEL
    for version in (1, 2):
        shutil.copytree(toys(version), base_path / str(version))
    policy = VersionPolicy(specific=VersionPolicy.Specific(versions=[1, 2]))
    with ModelServer(base_path, ServerOptions(grpc_port=0, rest_port=0, policy=policy, labels=LABELS)) as server:
        yield server


@pytest.fixture
def grpc_client(contract_server) -> GrpcClient:
    return GrpcClient(f"127.0.0.1:{contract_server.grpc_port}")


@pytest.fixture
def rest_client(contract_server) -> RestClient:
    return RestClient(f"127.0.0.1:{contract_server.rest_port}")


_TF_SERVING = os.environ.get("FULCRUM_TF_SERVING_GRPC"), os.environ.get("FULCRUM_TF_SERVING_REST")


@pytest.fixture(params=["local", "tensorflow_serving"] if all(_TF_SERVING) else ["local"])
def addresses(request: pytest.FixtureRequest) -> tuple[str, str]:
    """gRPC's and REST's address of each server that the contract holds for."""
    if request.param == "tensorflow_serving":
        return _TF_SERVING
    server = request.getfixturevalue("contract_server")
    return f"127.0.0.1:{server.grpc_port}", f"127.0.0.1:{server.rest_port}"


@pytest.fixture(params=["grpc", "rest"])
def client(request: pytest.FixtureRequest, addresses: tuple[str, str]) -> GrpcClient | RestClient:
    return GrpcClient(addresses[0]) if request.param == "grpc" else RestClient(addresses[1])


@pytest.fixture(scope="session")
def kit():
    """This file's helpers, for tests: modules under `tests/` can't import each other."""
    return sys.modules[__name__]


if __name__ == "__main__":
    target = Path(sys.argv[1])
    for number in (1, 2):
        export_toy(target / MODEL / str(number), number)
    labels = "".join(f"    version_labels {{ key: '{label}' value: {n} }}\n" for label, n in LABELS.items())
    (target / "models.config").write_text(
        f"model_config_list {{\n  config {{\n    name: '{MODEL}'\n    base_path: '/models/{MODEL}'\n"
        "    model_platform: 'tensorflow'\n"
        f"    model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}\n{labels}  }}\n}}\n"
    )
