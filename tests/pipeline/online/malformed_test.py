"""Whatever is sent to a gateway with a store, it is told what is wrong with it, and what others send is not lost.

`FULCRUM_MALFORMED=10000 pytest tests/pipeline/online/malformed_test.py` sends as many.
"""

import json
import os
import resource
import socket
import time
from datetime import date
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2

from pipeline.online.gateway import StoreCompleting
from pipeline.online.materialize import materialize
from schema.served import SPEC_FILE, rank_inputs
from serving.client import Target, connect, predict
from serving.local_server.server import ModelServer, ServerOptions
from serving.model.predict import Limits
from serving.store.memory import MemoryStore

COUNT = int(os.environ.get("FULCRUM_MALFORMED", "60"))
SENT = settings(
    max_examples=COUNT, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
AT = 1_767_225_600_000 + 3 * 86_400_000 + 3_600_000
MOST_BYTES = 1 << 20


@pytest.fixture(scope="module")
def store(days, tmp_path_factory):
    store = MemoryStore()
    materialize(days.spec, str(days.logs), str(tmp_path_factory.mktemp("base")), store, date(2026, 1, 3))
    return store


@pytest.fixture(scope="module")
def gateway(days, store, tmp_path_factory):
    """A model that reads all that `rank` takes, and scores an item by the length of its id."""
    inputs = rank_inputs(days.spec)
    specs = [tf.TensorSpec(tensor.shape, getattr(tf, tensor.dtype), name=tensor.name) for tensor in inputs]

    class Ranker(tf.Module):
        @tf.function(input_signature=specs)
        def rank(self, *columns):
            by_name = dict(zip([tensor.name for tensor in inputs], columns, strict=True))
            return {"score": tf.cast(tf.strings.length(by_name["item_id"]), tf.float32)}

    folder, ranker = tmp_path_factory.mktemp("models") / "ranker", Ranker()
    tf.saved_model.save(ranker, str(folder / "1"), {"rank": ranker.rank})
    (folder / "1" / SPEC_FILE).parent.mkdir(exist_ok=True)
    (folder / "1" / SPEC_FILE).write_text(days.spec.to_json())
    limits = Limits(batch=1_000, request_bytes=MOST_BYTES, finite=False)
    completing = StoreCompleting(days.spec, store)
    options = ServerOptions(grpc_port=0, rest_port=0, completing=completing, limits=limits)
    with ModelServer(folder, options) as running:
        yield running


@pytest.fixture(scope="module")
def rest(gateway):
    with urllib3.HTTPConnectionPool("127.0.0.1", gateway.rest_port, timeout=60, retries=False) as pool:

        def post(path: str, body: bytes) -> tuple[int, bytes]:
            response = pool.request("POST", path, body)
            assert b"Traceback" not in response.data
            return response.status, response.data

        yield post


def answers(gateway) -> list[float]:
    """Returns what somebody else's request gets meanwhile."""
    inputs = {
        "user_id": np.array(b"u1", object),
        "item_id": np.array([b"v1", b"v10"], object),
        "timestamp": np.array(AT, np.int64),
    }
    with connect(f"grpc://127.0.0.1:{gateway.grpc_port}", Target("ranker"), 60) as client:
        return predict(client, "rank", inputs)["score"].tolist()


TEXTS = st.text(max_size=8) | st.sampled_from(["", "u1", "v1", "1.0", "\0", "\ud800", "é", "x" * 5_000])
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 2**63, AT, 1e400])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["b64", "user_id", ""]), inner),
    max_leaves=6,
)
NAMES = ["user_id", "item_id", "timestamp", "tab", "country", "duration_s", "watched_item_id", "other"]
DEEP = st.integers(1, 100_000).map(lambda depth: b"[" * depth)
JUNK = st.binary(max_size=60) | DEEP | st.just(b"x" * (MOST_BYTES + 1))
BODIES = JUNK | st.fixed_dictionaries(
    {
        "signature_name": st.sampled_from(["rank", "rank", "rank", "predict", ""]) | VALUES,
        "inputs": st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5) | VALUES,
    }
).map(lambda body: json.dumps(body).encode())


@given(body=BODIES)
@SENT
def test_no_body_of_a_request_upsets_the_gateway(body, rest):
    status, answer = rest("/v1/models/ranker:predict", body)
    assert status in (200, 400, 413), answer


COLUMNS = ["user_id", "video_id", "timestamp", "tab", "play_ms", "like", "clicked", "other"]
EVENTS = st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=8).map(lambda row: json.dumps(row).encode())


def event_of_now(days, number: int) -> bytes:
    """Returns a row of today, whose folder it will be logged in."""
    return json.dumps({**json.loads(days.events[number].line), "timestamp": int(time.time() * 1000)}).encode()


@given(lines=st.lists(EVENTS | JUNK, max_size=4))
@SENT
def test_no_events_upset_the_gateway_and_each_is_told_by_its_place(lines, days, rest):
    """A good event at the end is counted, whatever stands before it."""
    sent = [line for line in b"\n".join([*lines, event_of_now(days, 0)]).splitlines() if line.strip()]
    status, answer = rest("/v1/events", b"\n".join(sent))
    assert status == (413 if sum(map(len, sent)) > MOST_BYTES else 200), answer
    if status == 200:
        done = json.loads(answer)
        assert done["counted"] >= 1
        assert all(0 <= event["event"] < len(sent) - 1 for event in done["rejected"])


@given(
    dtype=st.sampled_from([np.float32, np.int64, np.bool_, np.uint8, np.complex64, np.object_]),
    shape=st.lists(st.integers(0, 3), max_size=3),
    name=st.sampled_from(NAMES),
    cut=st.integers(0, 200),
    noise=st.binary(max_size=20),
)
@SENT
def test_no_message_upsets_the_gateway(dtype, shape, name, cut, noise, gateway):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "ranker", "rank"
    values = {"user_id": np.array(b"u1", object), "item_id": np.array([b"v1"], object)}
    values[name] = np.full(shape, b"\xff", object) if dtype is np.object_ else np.zeros(shape, dtype)
    for key, value in values.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    body = request.SerializeToString()
    body = body[: max(len(body) - cut, 0)] + noise if cut else body
    with grpc.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
        outcome = channel.unary_unary("/tensorflow.serving.PredictionService/Predict").future(body, timeout=60)
        code, details = outcome.code(), outcome.details() or ""
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND), details
    assert "Traceback" not in details


def test_clients_that_send_slowly_hold_nobody_up(gateway):
    clients = [socket.create_connection(("127.0.0.1", gateway.rest_port)) for _ in range(40)]
    try:
        for client in clients:
            client.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert answers(gateway) == [2.0, 3.0]
    finally:
        for client in clients:
            client.close()


def test_events_between_malformed_ones_are_told_apart(days, rest):
    for number in range(10):
        lines = [b"[" * 2_000, event_of_now(days, number), b'{"user_id": 1}', b"\xff"]
        status, answer = rest("/v1/events", b"\n".join(lines))
        assert status == 200, answer
        done = json.loads(answer)
        assert (done["counted"], [bad["event"] for bad in done["rejected"]]) == (1, [0, 2, 3])


def test_memory_stays_flat(days, gateway, rest):
    bodies = [
        b"[" * 5_000,
        json.dumps({"signature_name": "rank", "inputs": {"user_id": "u1", "item_id": [1]}}).encode(),
        json.dumps({"signature_name": "rank", "inputs": {"user_id": "x" * 70_000, "item_id": ["v1"]}}).encode(),
        json.dumps({"signature_name": "rank", "inputs": {"user_id": "u1", "item_id": ["v1"], "timestamp": 1}}).encode(),
    ]

    def send(rounds: int) -> None:
        for _ in range(rounds):
            for body in bodies:
                assert rest("/v1/models/ranker:predict", body)[0] == 400
            assert rest("/v1/events", b'{"user_id": "u1"}\n\xff')[0] == 400

    send(30)
    before = resident_bytes()
    rounds = max(COUNT // len(bodies), 60)
    send(rounds)
    after = resident_bytes()
    print(f"{before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB after {(len(bodies) + 1) * rounds:,} malformed bodies")
    assert after - before < 16 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
