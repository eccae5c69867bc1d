"""A gateway before another server answers as that server does, completes requests of ids, and never waits for long."""

import json
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf
import urllib3
from google.protobuf.wrappers_pb2 import Int32Value, StringValue
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from serving.client import ClientError, Target, connect, predict
from serving.gateway.server import GatewayServer
from serving.gateway.upstream import Upstream
from serving.local_server.server import ModelServer, ServerOptions
from serving.model.predict import Limits
from serving.store.protocol import StoreUnavailableError

TIMEOUT = 0.5


@pytest.fixture(scope="module")
def behind(model_dir):
    with ModelServer(model_dir, ServerOptions(grpc_port=0, rest_port=0)) as running:
        yield running


def gateway(shelf, port: int, degrade: bool = False) -> GatewayServer:
    upstream = Upstream(f"grpc://127.0.0.1:{port}", TIMEOUT, refresh_seconds=0.05)
    options = ServerOptions("ranker", "127.0.0.1", 0, 0, completing=shelf, degrade=degrade, limits=Limits(batch=100))
    return GatewayServer(upstream, options)


@pytest.fixture(scope="module")
def before(behind, shelf):
    with gateway(shelf, behind.grpc_port) as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def client(before, shelf, request):
    shelf.error = None
    shelf.asked.clear()
    with connected(before, request.param) as connection:
        yield connection


def connected(server, protocol: str):
    port = server.grpc_port if protocol == "grpc" else server.rest_port
    return connect(f"{protocol}://127.0.0.1:{port}", Target("ranker"), 30)


def ids(user: str, *items: str, **more: np.ndarray) -> dict[str, np.ndarray]:
    items_ = np.array([item.encode() for item in items], object)
    return {"user_id": np.array(user.encode(), object), "item_id": items_, **more}


def test_requests_of_ids_are_completed_and_forwarded(client, shelf):
    assert predict(client, "rank", ids("u", "a", "bcd"))["score"].tolist() == [5.0, 7.0]
    more = {"timestamp": np.array(7, np.int64), "mood": np.array(b"", object)}
    assert predict(client, "rank", ids("u", "a", "bcd", **more))["score"].tolist() == [1.0, 3.0]
    assert [(request.user, request.at) for request in shelf.asked] == [("u", None), ("u", 7)]
    assert predict(client, "rank", ids("u"))["score"].tolist() == []


def test_full_requests_pass_through_without_the_store(client, shelf):
    shelf.error = StoreUnavailableError("down")
    full = ids("u", "a", price=np.array([2.5], np.float32), mood=np.array(b"x", object))
    assert predict(client, "rank", full)["score"].tolist() == [3.5]
    assert shelf.asked == []


def test_what_was_sent_arrives_unchanged(shelf):
    """Field by field, those too that this version of the messages doesn't have."""
    arrived = []
    recorder, port = recording(arrived)
    with gateway(shelf, port) as server, grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        request = predict_pb2.PredictRequest(output_filter=["score"])
        request.model_spec.name, request.model_spec.version_label = "ranker", "canary"
        request.model_spec.signature_name = "predict"
        request.inputs["price"].tensor_content = b"\0\1"
        # A field with the number 77, of no message here.
        body = request.SerializeToString() + b"\xea\x04\x02hi"
        channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(body, timeout=10)
    recorder.stop(0)
    assert arrived == [body]


def recording(arrived: list[bytes]) -> tuple[grpc.Server, int]:
    """Returns a server that takes any message and answers with nothing in it."""

    class Recorder(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda body, _: arrived.append(body) or b"")

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Recorder()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def test_what_the_model_refuses_is_told_in_its_words(client):
    wrong = ids("u", "a", price=np.array([1], np.float32), mood=np.array([b"x"], object))
    with pytest.raises(ClientError, match="mood") as refused:
        predict(client, "rank", wrong)
    assert refused.value.code in ("INVALID_ARGUMENT", 400)
    with pytest.raises(ClientError, match=r"at most 100 values|limit of 100"):
        predict(client, "rank", ids("u", *["a"] * 101))


def test_status_and_signatures_are_the_upstreams(behind, before):
    def ask(port: int, service: str, method: str, request, answer):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(f"/tensorflow.serving.{service}/{method}", None, answer.FromString)
            return call(request.SerializeToString(), timeout=10)

    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "ranker"
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    metadata.model_spec.name = "ranker"
    for service, method, request, answer in (
        ("ModelService", "GetModelStatus", status, get_model_status_pb2.GetModelStatusResponse),
        ("PredictionService", "GetModelMetadata", metadata, get_model_metadata_pb2.GetModelMetadataResponse),
    ):
        here, there = (ask(server.grpc_port, service, method, request, answer) for server in (before, behind))
        assert here == there
    for path in ("/v1/models/ranker", "/v1/models/ranker/metadata", "/v1/models/ranker/versions/9"):
        assert rest(before, "GET", path) == rest(behind, "GET", path)


def rest(server, method: str, path: str, body: bytes | None = None) -> tuple[int, object]:
    response = urllib3.HTTPConnectionPool("127.0.0.1", server.rest_port).request(method, path, body, timeout=20)
    return response.status, json.loads(response.data)


def healthy(server) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check", StringValue.SerializeToString, Int32Value.FromString
        )
        return check(StringValue(), timeout=10).value == 1


def test_an_upstream_that_is_down_is_unavailable_and_is_found_again(model_dir, shelf):
    shelf.error = None
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    with gateway(shelf, port) as server, grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        assert not healthy(server)
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch", StringValue.SerializeToString, Int32Value.FromString
        )
        told = watch(StringValue(), timeout=60)
        assert next(told).value == 2
        for protocol in ("grpc", "http"):
            with connected(server, protocol) as client, pytest.raises(ClientError, match="can't be reached") as down:
                predict(client, "rank", ids("u", "a"))
            assert down.value.code in ("UNAVAILABLE", 503)
        with (
            ModelServer(model_dir, ServerOptions(grpc_port=port, rest_port=0)),
            connected(server, "grpc") as client,
        ):
            assert next(told).value == 1
            assert eventually(lambda: healthy(server))
            assert predict(client, "rank", ids("u", "a"))["score"].tolist() == [5.0]


def eventually(holds, seconds: float = 20) -> bool:
    limit = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


def test_an_upstream_that_stalls_is_given_up(shelf):
    """It takes connections and never says a word."""
    shelf.error = None
    with socket.create_server(("127.0.0.1", 0)) as silent, gateway(shelf, silent.getsockname()[1]) as server:
        for protocol in ("grpc", "http"):
            start = time.monotonic()
            with connected(server, protocol) as client, pytest.raises(ClientError, match="upstream") as stalled:
                predict(client, "rank", ids("u", "a"))
            assert stalled.value.code in ("UNAVAILABLE", 503)
            assert time.monotonic() - start < TIMEOUT + 5


def test_a_model_that_takes_too_long_is_given_up(behind, shelf):
    """The signatures come in time, the answer doesn't."""
    shelf.error = None
    release = threading.Event()

    class Slow(grpc.GenericRpcHandler):
        def service(self, details):
            def answer(body, _):
                if details.method.endswith("/Predict"):
                    release.wait(20)
                with grpc.insecure_channel(f"127.0.0.1:{behind.grpc_port}") as channel:
                    return channel.unary_unary(details.method)(body, timeout=10)

            return grpc.unary_unary_rpc_method_handler(answer)

    slow = grpc.server(ThreadPoolExecutor(4), handlers=[Slow()])
    port = slow.add_insecure_port("127.0.0.1:0")
    slow.start()
    try:
        with gateway(shelf, port) as server, connected(server, "grpc") as client:
            with pytest.raises(ClientError, match=f"no answer within {TIMEOUT} s") as late:
                predict(client, "rank", ids("u", "a"))
            assert late.value.code == "UNAVAILABLE"
            release.set()
            assert predict(client, "rank", ids("u", "a"))["score"].tolist() == [5.0]
    finally:
        release.set()
        slow.stop(0)


def test_an_upstreams_new_signature_is_noticed(model_dir, shelf, tmp_path):
    """A version that takes less is asked for less."""

    class Short(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="price")])
        def rank(self, price):
            return {"score": 0.0 * price}

    shelf.error = None
    folder = tmp_path / "ranker"
    shutil.copytree(model_dir, folder)
    options = ServerOptions(grpc_port=0, rest_port=0, poll_seconds=0.05, keep_contract=False)
    with (
        ModelServer(folder, options) as behind,
        gateway(shelf, behind.grpc_port) as server,
        connected(server, "grpc") as client,
    ):
        assert predict(client, "rank", ids("u", "a"))["score"].tolist() == [5.0]
        short = Short()
        tf.saved_model.save(short, str(tmp_path / "2"), {"rank": short.rank})
        (tmp_path / "2").rename(folder / "2")

        def is_asked_as_it_takes() -> bool:
            try:
                return predict(client, "rank", ids("u", "a"))["score"].tolist() == [0.0]
            except ClientError:
                return False

        assert eventually(is_asked_as_it_takes)


def test_events_go_to_the_store_and_a_store_that_is_down_can_be_done_without(behind, shelf):
    shelf.error = None
    with gateway(shelf, behind.grpc_port, degrade=True) as server:
        assert rest(server, "POST", "/v1/events", b"{}\n{}")[1]["counted"] == 1
        shelf.error = StoreUnavailableError("down")
        with connected(server, "grpc") as client:
            assert predict(client, "rank", ids("u", "a"))["score"].tolist() == [0.0]


@pytest.mark.parametrize(
    "address", ["localhost:8500", "http://localhost:1", "grpc://", "grpc://h:x", "grpc://h:1/path"]
)
def test_an_address_of_another_form_is_refused(address):
    with pytest.raises(ValueError, match="such as grpc://localhost:8500"):
        Upstream(address, 1.0)
