"""TensorFlow Serving's API, as its public documentation says; runs against the local server, and a real one when given.

Documentation: https://www.tensorflow.org/tfx/serving/api_rest, the `.proto` files of `tensorflow-serving-api`, and
https://www.tensorflow.org/tfx/serving/serving_config for versions and labels.
"""

import json

import numpy as np
import pytest

NOT_FOUND = ("NOT_FOUND", 404)
# TensorFlow Serving calls some of these FAILED_PRECONDITION over gRPC.
INVALID = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", 400, 412)


def refusal(kit, call, *args, **kwargs):
    with pytest.raises(kit.RefusedError) as caught:
        call(*args, **kwargs)
    return caught.value


def test_the_latest_version_answers_when_none_is_named(client):
    np.testing.assert_allclose(client.predict(x=[1.0, 2.5])["y"], [4.0, 7.0])


@pytest.mark.parametrize(
    ("spec", "expected"),
    [({"version": 1}, 3.0), ({"version": 2}, 4.0), ({"label": "stable"}, 3.0), ({"label": "canary"}, 4.0)],
)
def test_a_version_answers_by_its_number_and_by_its_label(client, spec, expected):
    np.testing.assert_allclose(client.predict(spec=spec, x=[1.0])["y"], [expected])


def test_a_signature_with_several_inputs_and_outputs_of_unequal_sizes_answers_by_name(client):
    outputs = client.predict("rank", user=[b"u"], item=[b"pear", b"plum", b"fig"], price=[0.5, 0.0, 9.0])
    np.testing.assert_allclose(outputs["score"], [3.5, 4.0, 10.0])  # position + price + version 2; -1 if unknown
    assert outputs["order"].tolist() == [2, 1, 0]
    assert outputs["pair"].tolist() == [b"u+pear", b"u+plum", b"u+fig"]


def test_an_empty_batch_gets_an_empty_answer(client):
    outputs = client.predict("rank", user=[b"u"], item=np.array([], object), price=np.array([], np.float32))
    assert outputs["score"].shape == (0,)


def test_binary_strings_come_back_as_they_went(client):
    outputs = client.predict("texts", text=[b"\x00\xff\xfe", b""])
    assert outputs["raw_bytes"].tolist() == [b"\x00\xff\xfe", b""]
    assert outputs["length"].tolist() == [3, 0]


def test_whole_numbers_keep_all_64_bits_and_truth_values_their_type(client):
    outputs = client.predict("typed", pair=[[2**62, 1], [-5, 2]], keep=[True, False])
    assert outputs["total"].tolist() == [2**62 + 1, -3]
    assert outputs["keep"].tolist() == [False, True]


def test_an_input_with_a_default_may_be_left_out(client):
    np.testing.assert_allclose(client.predict("weighted", x=[2.0])["y"], [8.0])
    np.testing.assert_allclose(client.predict("weighted", x=[2.0], weights=[0.5, 0.0])["y"], [1.0])


def test_the_status_of_all_versions_says_that_they_are_available(client):
    status = {entry["version"]: entry for entry in client.status()}
    assert status.keys() == {"1", "2"}
    assert {entry["state"] for entry in status.values()} == {"AVAILABLE"}
    assert {entry["status"]["error_code"] for entry in status.values()} == {"OK"}


@pytest.mark.parametrize(("spec", "version"), [({"version": 1}, "1"), ({"label": "canary"}, "2")])
def test_the_status_of_one_version_is_asked_by_number_or_label(client, spec, version):
    assert [entry["version"] for entry in client.status(**spec)] == [version]


def test_the_metadata_are_the_signatures_with_names_types_and_shapes(client):
    version, signatures = client.metadata()
    assert version == 2
    assert {"serving_default", "rank", "texts", "typed"} <= signatures.keys()
    pair = signatures["typed"]["inputs"]["pair"]
    assert pair["dtype"] == "DT_INT64"
    assert [dim["size"] for dim in pair["tensor_shape"]["dim"]] == ["-1", "2"]
    assert client.metadata(label="stable")[0] == 1


def test_an_unknown_model_or_version_is_not_found(client, kit):
    for spec in ({"name": "nobody"}, {"version": 99}):
        assert refusal(kit, client.predict, spec=spec, x=[1.0]).code in NOT_FOUND
        assert refusal(kit, client.status, **spec).code in NOT_FOUND
        assert refusal(kit, client.metadata, **spec).code in NOT_FOUND


def test_an_unknown_label_is_refused(client, kit):
    refused = refusal(kit, client.predict, spec={"label": "gone"}, x=[1.0])
    assert refused.code in (*INVALID, *NOT_FOUND)
    assert "gone" in refused.message


def test_an_unknown_signature_is_refused_by_its_name(client, kit):
    refused = refusal(kit, client.predict, "no_such_signature", x=[1.0])
    assert refused.code in (*INVALID, *NOT_FOUND)
    assert "no_such_signature" in refused.message


def test_a_missing_input_and_an_extra_one_are_refused_by_name(client, kit):
    refused = refusal(kit, client.predict, "rank", user=[b"u"], item=[b"pear"])
    assert refused.code in INVALID
    refused = refusal(kit, client.predict, x=[1.0], colour=[1.0])
    assert refused.code in INVALID
    assert "colour" in refused.message


def test_a_wrong_type_and_a_wrong_shape_are_refused(client, kit):
    assert refusal(kit, client.predict, x=[b"one"]).code in INVALID
    assert refusal(kit, client.predict, "typed", pair=[[1, 2, 3]], keep=[True]).code in INVALID


@pytest.fixture
def rest(addresses, kit):
    return kit.RestClient(addresses[1])


@pytest.fixture
def grpc_only(addresses, kit):
    return kit.GrpcClient(addresses[0])


def test_rows_of_a_single_input_need_no_name_and_give_rows_without_one(rest):
    answer = rest.json("POST", "/v1/models/toy:predict", {"instances": [1.0, 2.0, 5.0]})
    assert answer == {"predictions": [4.0, 6.0, 12.0]}


def test_rows_of_several_inputs_are_objects_and_so_are_the_predictions(rest):
    rows = [{"pair": [1, 2], "keep": True}, {"pair": [3, 4], "keep": False}]
    answer = rest.json("POST", "/v1/models/toy:predict", {"signature_name": "typed", "instances": rows})
    assert answer == {"predictions": [{"total": 3, "keep": False}, {"total": 7, "keep": True}]}


def test_columns_of_a_single_input_need_no_name_and_a_single_output_has_none(rest):
    assert rest.json("POST", "/v1/models/toy:predict", {"inputs": [1.0, 2.0]}) == {"outputs": [4.0, 6.0]}
    assert rest.json("POST", "/v1/models/toy:predict", {"inputs": {"x": [1.0]}}) == {"outputs": [4.0]}


def test_base64_goes_in_anywhere_and_comes_out_of_names_that_end_in_bytes(rest):
    rows = [{"b64": "aW1hZ2UgYnl0ZXM="}]
    answer = rest.json("POST", "/v1/models/toy:predict", {"signature_name": "texts", "instances": rows})
    assert answer == {"predictions": [{"same": "image bytes", "raw_bytes": {"b64": "aW1hZ2UgYnl0ZXM="}, "length": 11}]}


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"instances": 3}', '{"instances": [1.0], "inputs": [1.0]}'])
def test_a_body_that_is_no_predict_request_is_a_bad_request_with_an_error_message(rest, body):
    status, answer = rest.request("POST", "/v1/models/toy:predict", body)
    assert status == 400
    assert json.loads(answer)["error"]


def test_rows_with_unequal_fields_are_a_bad_request(rest, kit):
    rows = [{"pair": [1, 2], "keep": True}, {"pair": [3, 4]}]
    body = {"signature_name": "typed", "instances": rows}
    assert refusal(kit, rest.json, "POST", "/v1/models/toy:predict", body).code == 400


def test_an_unknown_path_is_refused_in_json(rest):
    status, answer = rest.request("GET", "/v1/nothing/here")
    assert status in (400, 404)
    assert json.loads(answer)["error"]


def test_an_output_filter_selects_outputs_and_refuses_unknown_ones(grpc_only, kit):
    request = kit.make_request("rank", user=[b"u"], item=[b"pear"], price=[0.0])
    request.output_filter.append("score")
    assert list(grpc_only.call(grpc_only.prediction.Predict, request).outputs) == ["score"]
    request.output_filter.append("beauty")
    refused = refusal(kit, grpc_only.call, grpc_only.prediction.Predict, request)
    assert refused.code == "INVALID_ARGUMENT"
    assert "beauty" in refused.message


def test_the_response_names_the_version_and_the_signature_that_answered(grpc_only, kit):
    answer = grpc_only.call(grpc_only.prediction.Predict, kit.make_request(x=[1.0]))
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("toy", 2)
    assert answer.model_spec.signature_name == "serving_default"


def test_metadata_other_than_the_signatures_are_refused(grpc_only, kit):
    request = kit.get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=kit.make_spec(), metadata_field=["the_weather"]
    )
    assert refusal(kit, grpc_only.call, grpc_only.prediction.GetModelMetadata, request).code == "INVALID_ARGUMENT"
