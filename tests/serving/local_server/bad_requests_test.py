"""Whatever a client sends, it gets a reason, and the server goes on."""

import contextlib
import json
import resource
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2

PREDICT = "/v1/models/toy:predict"
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refuse_grpc(client, kit, request) -> tuple[str, str]:
    with pytest.raises(kit.RefusedError) as caught:
        client.call(client.prediction.Predict, request)
    return caught.value.code, caught.value.message


def refuse_rest(client, body, status=400) -> str:
    got, answer = client.request("POST", PREDICT, body if isinstance(body, bytes) else json.dumps(body))
    message = json.loads(answer)["error"]
    assert got == status, message
    assert "Traceback" not in message
    assert '.py"' not in message
    return message


def raw_predict(client, body: bytes) -> grpc.StatusCode:
    """The status of Predict with `body` as the message's bytes."""
    call = client.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    outcome = call.future(body, timeout=30)
    assert "Traceback" not in (outcome.details() or "")
    return outcome.code()


RANK = {"user": [b"u"], "item": [b"pear"], "price": np.ones(1, np.float32)}
BROKEN = {
    "an input is missing": ({"user": RANK["user"], "item": RANK["item"]}, "price"),
    "an input is extra": ({**RANK, "colour": [1.0]}, "colour"),
    "a type is wrong": ({**RANK, "price": [b"free"]}, "price"),
    "a rank is wrong": ({**RANK, "item": [[b"pear"]]}, "item"),
    "a size is wrong": ({**RANK, "user": [b"u", b"v"]}, "user"),
    "a number is NaN": ({**RANK, "price": np.array([np.nan], np.float32)}, "price"),
    "a number is infinite": ({**RANK, "price": np.array([-np.inf], np.float32)}, "price"),
    "sizes disagree": ({**RANK, "item": [b"pear"] * 2, "price": np.ones(3, np.float32)}, "item[2], price[3]"),
    "there are too many candidates": (
        {"user": [b"u"], "item": np.full(100_001, b"pear", object), "price": np.ones(100_001, np.float32)},
        "item",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_inputs_that_do_not_fit_are_refused_by_name_over_both_protocols(what, grpc_client, rest_client, kit):
    inputs, field = BROKEN[what]
    code, message = refuse_grpc(grpc_client, kit, kit.make_request("rank", **inputs))
    assert code == "INVALID_ARGUMENT"
    assert field in message
    with pytest.raises(kit.RefusedError) as caught:
        rest_client.predict("rank", **inputs)
    assert caught.value.code == 400
    assert field in caught.value.message


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"instances": "x"}, "instances"),
        ({"instances": []}, "instances"),
        ({"instances": [{"x": 1.0}, 2.0]}, "instances[1]"),
        ({"inputs": {"x": [1, [2]]}}, "'x'"),
        ({"inputs": {"x": [True]}}, "'x'"),
        ({"inputs": {"x": [None]}}, "'x'"),
        ({"inputs": {"x": [10**400]}}, "'x'"),
        ({"signature_name": "typed", "inputs": {"pair": [[1.5, 2]], "keep": [True]}}, "'pair'"),
        ({"signature_name": "typed", "inputs": {"pair": [[2**63, 2]], "keep": [True]}}, "'pair'"),
        ({"signature_name": "typed", "inputs": {"pair": [[1, 2]], "keep": [0]}}, "'keep'"),
        ({"signature_name": "typed", "inputs": [[1, 2]]}, "pair"),
        ({"signature_name": "texts", "inputs": [{"b64": "%"}]}, "'text'"),
        ({"signature_name": "texts", "inputs": [{"b65": ""}]}, "'text'"),
        ({"signature_name": "texts", "inputs": ["\ud800"]}, "'text'"),
        ({"signature_name": 3, "inputs": [1.0]}, "signature_name"),
        ({"signature_name": "rank", "instances": [{"user": "u"}]}, "price"),
        (b"[" * 200_000, "JSON"),
        (b'{"inputs": [1.0', "JSON"),
        (b"\xff\xfe\xfd", "JSON"),
        (b'{"inputs": ' + b"[" * 60 + b"]" * 60 + b"}", "'x'"),
    ],
)
def test_json_that_is_no_request_is_refused_with_the_place(body, names, rest_client):
    assert names in refuse_rest(rest_client, body)


def test_rows_whose_outputs_have_unequal_sizes_are_told_to_come_in_columns(rest_client):
    row = {"user": ["u"], "item": ["pear", "plum"], "price": [1.0, 2.0]}
    assert refuse_rest(rest_client, {"signature_name": "rank", "instances": [row]})


def test_a_body_above_the_limit_is_refused_before_it_is_read(grpc_client, rest_client, kit):
    huge = b"x" * (50 << 20)
    assert raw_predict(grpc_client, huge) == grpc.StatusCode.RESOURCE_EXHAUSTED
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may hang up while the client still sends
        assert "too large" in refuse_rest(rest_client, huge, 413)
    assert rest_client.predict(x=[1.0])["y"] == [4.0]


def test_a_tensor_that_declares_more_than_it_holds_takes_no_memory(grpc_client, kit):
    request = kit.make_request()
    request.inputs["x"].CopyFrom(_float_tensor([1 << 50], float_val=[1.0]))
    code, message = refuse_grpc(grpc_client, kit, request)
    assert code == "INVALID_ARGUMENT"
    assert "'x'" in message


def test_a_tensor_with_fewer_values_than_its_shape_repeats_the_last_one(grpc_client, kit):
    """TensorFlow's compact form of a constant tensor."""
    request = kit.make_request()
    request.inputs["x"].CopyFrom(_float_tensor([3], float_val=[1.0]))
    outputs = grpc_client.call(grpc_client.prediction.Predict, request).outputs
    assert list(outputs["y"].float_val) == [4.0, 4.0, 4.0]


@pytest.mark.parametrize("content", [b"12345", b"1234" * 9])
def test_a_tensor_whose_bytes_do_not_fill_its_shape_is_refused(content, grpc_client, kit):
    request = kit.make_request()
    request.inputs["x"].CopyFrom(_float_tensor([3], tensor_content=content))
    code, message = refuse_grpc(grpc_client, kit, request)
    assert code == "INVALID_ARGUMENT"
    assert "'x'" in message


@pytest.mark.parametrize("dtype", [types_pb2.DT_VARIANT, types_pb2.DT_RESOURCE, types_pb2.DT_INVALID, 99])
def test_a_tensor_of_a_type_that_can_not_be_sent_is_refused(dtype, grpc_client, kit):
    request = kit.make_request(x=[1.0])
    request.inputs["x"].dtype = dtype
    code, message = refuse_grpc(grpc_client, kit, request)
    assert code == "INVALID_ARGUMENT"
    assert "'x': expected float32" in message


def _float_tensor(shape: list[int], **values) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, **values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def test_an_unknown_rank_and_a_negative_size_are_refused(grpc_client, kit):
    for change in (lambda shape: setattr(shape, "unknown_rank", True), lambda shape: shape.dim.add(size=-1)):
        request = kit.make_request(x=[1.0])
        del request.inputs["x"].tensor_shape.dim[:]
        change(request.inputs["x"].tensor_shape)
        assert refuse_grpc(grpc_client, kit, request)[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("method", ["Classify", "Regress", "MultiInference"])
def test_methods_that_are_not_served_say_so(method, grpc_client):
    call = grpc_client.channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=30)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_rest_refuses_versions_that_are_no_numbers_and_methods_that_do_not_exist(rest_client):
    assert rest_client.request("GET", "/v1/models/toy/versions/two")[0] == 400
    assert rest_client.request("GET", f"/v1/models/toy/versions/{2**70}")[0] == 400
    assert rest_client.request("GET", PREDICT)[0] == 405
    assert rest_client.request("POST", "/v1/models/toy:classify", b"{}")[0] == 501


@given(cut=st.integers(1, 200), noise=st.binary(max_size=40))
@FUZZ
def test_a_truncated_or_garbled_message_is_the_clients_fault(cut, noise, grpc_client, kit):
    body = kit.make_request("rank", **RANK).SerializeToString()
    status = raw_predict(grpc_client, body[: -min(cut, len(body))] + noise)
    assert status in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OK)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "b64", "pair", ""]), inner),
    max_leaves=8,
)


@given(
    value=JSON,
    key=st.sampled_from(["instances", "inputs"]),
    signature=st.sampled_from(["", "rank", "texts", "typed", "none"]),
)
@FUZZ
def test_no_json_at_all_upsets_the_server(value, key, signature, rest_client):
    status, answer = rest_client.request("POST", PREDICT, json.dumps({"signature_name": signature, key: value}))
    assert status in (200, 400), answer
    assert b"Traceback" not in answer


@given(
    dtype=st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.bool_, np.uint8, np.complex64]),
    shape=st.lists(st.integers(0, 3), max_size=3),
    name=st.sampled_from(["x", "pair", "keep"]),
    signature=st.sampled_from(["", "typed", "rank"]),
)
@FUZZ
def test_no_tensor_at_all_upsets_the_server(dtype, shape, name, signature, grpc_client, kit):
    request = kit.make_request(signature)
    request.inputs[name].CopyFrom(tf.make_tensor_proto(np.zeros(shape, dtype)))
    status = raw_predict(grpc_client, request.SerializeToString())
    assert status in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)


def test_memory_stays_flat_under_ten_thousand_bad_requests(grpc_client, kit):
    bodies = [kit.make_request("rank", **inputs).SerializeToString() for inputs, _ in list(BROKEN.values())[:8]]
    bodies += [bodies[0][:-7], kit.make_request("rank", **RANK).SerializeToString()]

    def send(rounds: int) -> None:
        def work() -> None:
            for _ in range(rounds // 4):
                for body in bodies:
                    raw_predict(grpc_client, body)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    send(100)
    before = _resident_bytes()
    send(1_000)  # of ten messages each
    assert _resident_bytes() - before < 8 << 20


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize()
