"""Requests of ids are completed, full ones pass through; a store that is down is an error, or an answer by choice."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from serving.client import ClientError, Target, connect, predict
from serving.gateway.completing import CountedEvents, IdRequestError
from serving.gateway.request_log import RequestLog
from serving.local_server.server import ModelServer, ServerOptions
from serving.model.predict import Limits
from serving.store.protocol import KeySizeError, StoreUnavailableError


@pytest.fixture(scope="module", params=[False, True], ids=["strict", "degrading"])
def server(request, model_dir, shelf):
    options = ServerOptions(
        host="::1", grpc_port=0, rest_port=0, completing=shelf, degrade=request.param, limits=Limits(batch=100)
    )
    with ModelServer(model_dir, options) as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def client(server, shelf, request):
    shelf.error = None
    shelf.asked.clear()
    port = server.grpc_port if request.param == "grpc" else server.rest_port
    with connect(f"{request.param}://[::1]:{port}", Target("ranker"), 30) as connection:
        yield connection


def ids(user: str, *items: str, **more: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "user_id": np.array(user.encode(), object),
        "item_id": np.array([item.encode() for item in items], object),
        **more,
    }


def score_of(client, inputs) -> list[float]:
    return predict(client, "rank", inputs)["score"].tolist()


def test_a_user_and_items_are_enough_and_what_a_request_has_itself_wins(client, shelf):
    assert score_of(client, ids("u", "a", "bcd")) == [5.0, 7.0]
    assert score_of(client, ids("u", "a", "bcd", timestamp=np.array(7, np.int64), mood=np.array(b"", object))) == [1, 3]
    assert [(request.user, request.items, request.at) for request in shelf.asked] == [
        ("u", ["a", "bcd"], None),
        ("u", ["a", "bcd"], 7),
    ]
    assert shelf.asked[1].given["mood"].item() == b""
    assert score_of(client, ids("u")) == []


def test_the_model_takes_ids_as_logs_have_them(client):
    assert int(predict(client, "rank", ids("12.0", "a"))["user"]) == 2
    full = ids("12.0", "a", price=np.array([2.5], np.float32), mood=np.array(b"x", object))
    assert int(predict(client, "rank", full)["user"]) == 4


def test_a_share_of_the_requests_is_logged_without_what_they_had_themselves(model_dir, shelf, tmp_path):
    shelf.error = None
    path = tmp_path / "requests.jsonl"
    options = ServerOptions(
        host="::1", grpc_port=0, rest_port=0, completing=shelf, degrade=True, request_log=RequestLog(path, 1.0)
    )
    with (
        ModelServer(model_dir, options) as server,
        connect(f"grpc://[::1]:{server.grpc_port}", Target("ranker"), 30) as client,
    ):
        score_of(client, ids("u", "a", "bcd", mood=np.array(b"!", object)))
        score_of(client, ids("u", "a", price=np.array([1.0], np.float32), mood=np.array(b"x", object)))
        shelf.error = StoreUnavailableError("down")
        score_of(client, ids("u", "a"))
        shelf.error = None
        counted = metrics(server)
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["user_id"], first["item_id"], first["given"], first["degraded"]) == (
        "u",
        ["a", "bcd"],
        {"mood": "!"},
        None,
    )
    assert first["inputs"] == {"price": [1.0, 3.0], "user_id": "u", "item_id": ["a", "bcd"]}
    assert (second["degraded"], second["inputs"]["price"]) == ("StoreUnavailableError", [0.0])
    assert counted['fulcrum_logged_requests_total{outcome="written"}'] >= 1


def test_full_requests_do_not_reach_the_store(client, shelf):
    shelf.error = StoreUnavailableError("down")
    full = ids("u", "a", price=np.array([2.5], np.float32), mood=np.array(b"x", object))
    assert score_of(client, full) == [3.5]
    assert shelf.asked == []


@pytest.mark.parametrize("error", [KeySizeError("too long"), IdRequestError("no id")], ids=lambda error: str(error))
def test_what_the_request_is_to_blame_for_is_told_as_such(client, shelf, error):
    shelf.error = error
    with pytest.raises(ClientError, match=str(error)) as refused:
        score_of(client, ids("u", "a"))
    assert refused.value.code in ("INVALID_ARGUMENT", 400)


def test_a_request_is_to_blame_without_the_store_too(server, client, shelf, monkeypatch):
    shelf.error = StoreUnavailableError("down")
    monkeypatch.setattr(shelf, "degraded_error", KeySizeError("too long"))
    with pytest.raises(ClientError, match="too long" if server.options.degrade else "store: down") as refused:
        score_of(client, ids("u", "a"))
    assert refused.value.code in (("INVALID_ARGUMENT", 400) if server.options.degrade else ("UNAVAILABLE", 503))


def test_ids_of_another_shape_or_type_are_refused(client):
    for wrong in (
        {"user_id": np.array([b"u"], object)},
        {"item_id": np.array([1.0], np.float32)},
        {"item_id": np.array([b"a"] * 101, object)},
        {"timestamp": np.array(1.5, np.float32)},
        {"user_id": np.array(b"\xff", object)},
    ):
        with pytest.raises(ClientError) as refused:
            score_of(client, {**ids("u", "a"), **wrong})
        assert refused.value.code in ("INVALID_ARGUMENT", 400)
    with pytest.raises(ClientError, match="price"):
        predict(client, "rank", {"user_id": np.array(b"u", object)})


def test_a_store_that_is_down_is_unavailable_or_a_marked_answer(server, client, shelf):
    shelf.error = StoreUnavailableError("down")
    if not server.options.degrade:
        with pytest.raises(ClientError, match="store: down") as refused:
            score_of(client, ids("u", "a"))
        assert refused.value.code in ("UNAVAILABLE", 503)
        return
    prepared = client.prepare("rank", ids("u", "a"))
    if client.address.startswith("grpc"):
        response, call = client._stub.Predict.with_call(prepared, timeout=10)
        headers = dict(call.initial_metadata())
        assert client.outputs(response)["score"].tolist() == [0.0]
    else:
        response = client._pool.request("POST", client._path, prepared)
        headers = response.headers
        assert json.loads(response.data)["outputs"]["score"] == [0.0]
    assert headers["fulcrum-degraded"] == "StoreUnavailableError"


def rest(server, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    import urllib3

    response = urllib3.HTTPConnectionPool("[::1]", server.rest_port).request(method, path, body)
    return response.status, response.data


def test_events_are_taken_by_post(server, shelf):
    shelf.error = None
    shelf.events.clear()
    before = metrics(server)
    status, body = rest(server, "POST", "/v1/events", b'{"a": 1}\n\n{"b": 2}\n')
    assert (status, shelf.events) == (200, [b'{"a": 1}', b'{"b": 2}'])
    assert json.loads(body) == {
        "counted": 1,
        "settled": 3,
        "unused": 4,
        "rejected": [{"event": 0, "reason": "no event"}],
    }
    after = metrics(server)
    for outcome, number in (("counted", 1), ("settled", 3), ("unused", 4), ("rejected", 1)):
        name = f'fulcrum_store_events_total{{outcome="{outcome}"}}'
        assert after[name] - before.get(name, 0) == number
    shelf.error = StoreUnavailableError("down")
    assert rest(server, "POST", "/v1/events", b"{}")[0] == 503


def test_a_body_without_an_event_of_use_is_malformed(server, shelf, monkeypatch):
    shelf.error = None
    rejected = [(0, "no event"), (1, "no id")]
    for counts, expected in (((0, 0, 0), 400), ((1, 0, 0), 200), ((0, 1, 0), 200), ((0, 0, 1), 200)):
        counted, settled, unused = counts
        monkeypatch.setattr(shelf, "done", CountedEvents(counted, rejected, settled, unused))
        status, body = rest(server, "POST", "/v1/events", b"{}\n{}")
        answer = json.loads(body)
        assert (status, [event["reason"] for event in answer["rejected"]]) == (expected, ["no event", "no id"])
        error = "none of the 2 events can be used; the first: no event"
        assert answer.get("error") == (error if expected == 400 else None)
    monkeypatch.setattr(shelf, "done", CountedEvents(0, []))
    assert rest(server, "POST", "/v1/events", b"")[0] == 200


def test_who_posts_events_or_looks_at_the_server_holds_no_request_up(server, shelf):
    shelf.error = None
    shelf.gate.clear()
    shelf.waiting.clear()
    calls = [("POST", "/v1/events", b"{}\n{}")] * 10 + [("GET", "/monitoring/prometheus/metrics")]
    with ThreadPoolExecutor(len(calls)) as pool:
        waiting = [pool.submit(rest, server, *call) for call in calls]
        try:
            while len(shelf.waiting) < 2:
                time.sleep(0.01)
            with connect(f"http://[::1]:{server.rest_port}", Target("ranker"), 30) as client:
                assert score_of(client, ids("u", "a")) == [5.0]
            assert rest(server, "GET", "/v1/models/ranker")[0] == 200
            assert not any(call.done() for call in waiting)
        finally:
            shelf.gate.set()
        assert {call.result()[0] for call in waiting} == {200}


def test_prometheus_reads_what_the_store_did(server, shelf):
    shelf.error = None
    with connect(f"grpc://[::1]:{server.grpc_port}", Target("ranker"), 30) as client:
        before = metrics(server)
        score_of(client, ids("nobody", "new", "new", timestamp=np.array(7, np.int64)))
        after = metrics(server)
    changed = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    assert changed["fulcrum_store_unknown_users_total"] == 1
    assert changed["fulcrum_store_unknown_items_total"] == 2
    assert changed["fulcrum_store_late_requests_total"] == 1
    assert changed['fulcrum_store_requests_total{outcome="completed"}'] == 1
    assert changed["fulcrum_store_seconds_count"] == 1
    assert (after["fulcrum_store_lag_seconds"], after["fulcrum_store_generation_age_seconds"]) == (12.5, 3.0)


def metrics(server) -> dict[str, float]:
    lines = rest(server, "GET", "/monitoring/prometheus/metrics")[1].decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_health_is_told_as_grpc_clients_ask_for_it(server):
    with grpc.insecure_channel(f"[::1]:{server.grpc_port}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check", StringValue.SerializeToString, Int32Value.FromString
        )
        assert check(StringValue(), timeout=10).value == 1
        with pytest.raises(grpc.RpcError) as refused:
            check(StringValue(value="another"), timeout=10)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def test_however_many_watch_the_health_requests_are_answered(server, shelf):
    shelf.error = None
    with (
        grpc.insecure_channel(f"[::1]:{server.grpc_port}") as channel,
        connect(f"grpc://[::1]:{server.grpc_port}", Target("ranker"), 30) as client,
    ):
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch", StringValue.SerializeToString, Int32Value.FromString
        )
        streams = [watch(StringValue(), timeout=60) for _ in range(3 * server.options.threads)]
        assert {next(stream).value for stream in streams} == {1}
        assert next(watch(StringValue(value="another"), timeout=60)).value == 3
        assert score_of(client, ids("u", "a")) == [5.0]
        for stream in streams:
            stream.cancel()


def test_who_watches_the_health_is_told_of_the_end_and_does_not_delay_it(model_dir, shelf):
    server = ModelServer(model_dir, ServerOptions(grpc_port=0, rest_port=0, completing=shelf, grace_seconds=30))
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch", StringValue.SerializeToString, Int32Value.FromString
        )
        streams = [watch(StringValue(value=service), timeout=60) for service in ("", "another")]
        assert [next(stream).value for stream in streams] == [1, 3]
        start = time.monotonic()
        server.stop()
        assert time.monotonic() - start < 20
        assert [[status.value for status in stream] for stream in streams] == [[2], []]
