import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from example_tensors import as_tensor, values_of, without_lists
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from models.export import requests, signatures
from models.features import dense, placeholders
from models.ranker import Ranker
from models.training.build import build_ranker
from schema import served as served_contract
from schema.columns import label_name, model_columns, space_name
from schema.spec import RankingSpec
from serving.local_server.json_tensors import parse, read_inputs
from serving.model.errors import ServingError
from serving.model.predict import Limits, predict
from serving.model.saved_model import SavedModel, TensorSpec
from serving.model.tensorflow_c import Tensor

# A process without this project, Transform or TFX: what stands in for TensorFlow Serving's loader.
PLAIN = """
import sys
import numpy as np
import tensorflow as tf
directory, signature, inputs, out = sys.argv[1:]
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], directory)
    signature = meta.signature_def[signature]
    feeds = {signature.inputs[name].name: value for name, value in np.load(inputs, allow_pickle=True).items()}
    np.savez(out, **session.run({name: info.name for name, info in signature.outputs.items()}, feeds))
assert not [name for name in sys.modules if name.split(".")[0] in ("tfx", "tensorflow_transform", "models")]
"""

TASKS = {"click", "completion", "like"}


@pytest.fixture(scope="module")
def ranker(spec, transformed, disturb):
    return as_if_trained(spec, transformed, disturb)


@pytest.fixture(scope="module")
def saved(ranker, transformed, tmp_path_factory) -> str:
    directory = str(tmp_path_factory.mktemp("saved"))
    signatures.save(ranker, transformed.output, directory)
    return directory


@pytest.fixture(scope="module")
def served(saved):
    return tf.saved_model.load(saved).signatures


@pytest.fixture(scope="module")
def expected(ranker, transformed) -> dict[str, np.ndarray]:
    return trainers_numbers(ranker, transformed)


def as_if_trained(spec, transformed, disturb) -> Ranker:
    ranker = build_ranker(spec, transformed.output)
    ranker(placeholders(spec))
    disturb(ranker)
    return ranker


def trainers_numbers(ranker: Ranker, transformed) -> dict[str, np.ndarray]:
    """The trainer's model on the transformed examples, in the order of the raw ones."""
    raw = tf.io.parse_example(transformed.raw["eval"], requests.request_feature_spec(ranker.spec))
    features = dense(transformed.output.transform_features_layer()(raw), ranker.spec)
    return {task: output.numpy() for task, output in ranker(features).items()}


@pytest.fixture(scope="module")
def examples(transformed) -> list[tf.train.Example]:
    return [tf.train.Example.FromString(record) for record in transformed.raw["eval"]]


@pytest.fixture(scope="module")
def rank_request(spec, examples):
    """What `rank` takes for one example's user and for the candidates of several.

    Exponents are there because a loaded signature asks for every input when Python calls it.
    """

    def built(user: tf.train.Example, candidates: list[tf.train.Example], exponents=(1.0, 1.0, 1.0)):
        request = {"exponents": tf.constant(exponents, tf.float32)}
        for column in model_columns(spec):
            if column.side == "item":
                request[column.name] = as_tensor(column, [values_of(example, column) for example in candidates])
            else:
                values = values_of(user, column)
                dtype = tf.string if column.dtype == "string" else tf.float32
                request[column.name] = tf.constant(values if column.ragged or column.width else values[0], dtype)
        return request

    return built


@pytest.fixture(scope="module")
def written_out(spec):
    """The same as full examples, serialised."""

    def built(user: tf.train.Example, candidates: list[tf.train.Example]) -> tf.Tensor:
        records = []
        for candidate in candidates:
            example = tf.train.Example.FromString(candidate.SerializeToString())
            for column in model_columns(spec):
                if column.side == "user":
                    example.features.feature[column.name].CopyFrom(user.features.feature[column.name])
            records.append(example.SerializeToString())
        return tf.constant(records, tf.string)

    return built


@pytest.fixture(scope="module")
def predict_request(spec, examples):
    """What `predict` takes for examples; as many paddings as `leading` says stand before each list."""

    def built(rows: list[tf.train.Example], leading: int = 0) -> dict[str, tf.Tensor]:
        columns = {column.name: column for column in model_columns(spec)}
        return {
            name: as_tensor(columns[name], [values_of(example, columns[name]) for example in rows], leading)
            for name in input_names(spec, "predict")
        }

    return built


def input_names(spec: RankingSpec, signature: str) -> list[str]:
    return [tensor.name for tensor in served_contract.signatures(spec)[signature].inputs]


def test_the_saved_model_gives_the_trainers_numbers(served, expected, transformed):
    outputs = served["serving_default"](examples=tf.constant(transformed.raw["eval"]))
    assert set(outputs) == TASKS
    for task, output in outputs.items():
        assert output.shape == (100, 1)
        np.testing.assert_allclose(output, expected[task], atol=1e-6)


@pytest.mark.parametrize("leading", [0, 2])
def test_predict_gives_the_trainers_numbers_wherever_the_padding_stands(
    served, expected, examples, predict_request, leading
):
    outputs = served["predict"](**predict_request(examples, leading))
    assert set(outputs) == TASKS
    for task, output in outputs.items():
        np.testing.assert_allclose(output, expected[task], atol=1e-6)


@pytest.mark.parametrize("user", range(5))
def test_rank_gives_the_numbers_of_the_same_rows_as_full_examples(served, examples, rank_request, written_out, user):
    candidates = examples[10:60]
    outputs = served["rank"](**rank_request(examples[user], candidates))
    rows = served["serving_default"](examples=written_out(examples[user], candidates))
    assert set(outputs) == {*TASKS, "score", "order"}
    for task in TASKS:
        np.testing.assert_allclose(outputs[task], rows[task][:, 0], atol=1e-6)


@pytest.mark.parametrize("signature", ["serving_default", "rank", "predict"])
def test_a_plain_session_gives_the_same_numbers_without_this_project(
    saved, served, examples, transformed, rank_request, predict_request, tmp_path, signature
):
    request = {
        "serving_default": {"examples": tf.constant(transformed.raw["eval"])},
        "rank": rank_request(examples[0], examples[:20]),
        "predict": predict_request(examples[:20]),
    }[signature]
    # The graph has a default for the exponents.
    sent = {name: np.asarray(value) for name, value in request.items() if name != "exponents"}
    np.savez(tmp_path / "inputs.npz", **sent)
    arguments = [saved, signature, str(tmp_path / "inputs.npz"), str(tmp_path / "outputs.npz")]
    subprocess.run([sys.executable, "-c", PLAIN, *arguments], check=True, cwd=tmp_path, capture_output=True)
    outputs = np.load(tmp_path / "outputs.npz")
    for name, output in served[signature](**request).items():
        np.testing.assert_allclose(outputs[name], output, atol=1e-5)


def test_the_graph_holds_stock_operations_and_no_xla(saved):
    graph = meta_graph(saved).graph_def
    functions = {function.signature.name for function in graph.library.function}
    used = {node.op for node in graph.node} | {node.op for f in graph.library.function for node in f.node_def}
    assert [op for op in used - functions if op_def_registry.get(op) is None] == []
    assert not any(function.attr["_XlaMustCompile"].b for function in graph.library.function)


def test_dtrn_is_served_by_stock_operations_as_it_was_trained(
    spec, transformed, disturb, examples, rank_request, written_out, tmp_path
):
    model = spec.model.model_copy(update={"bottom": "dtrn"})
    ranker = as_if_trained(spec.model_copy(update={"model": model}), transformed, disturb)
    signatures.save(ranker, transformed.output, str(tmp_path))
    test_the_graph_holds_stock_operations_and_no_xla(str(tmp_path))
    served = tf.saved_model.load(str(tmp_path)).signatures
    outputs = served["serving_default"](examples=tf.constant(transformed.raw["eval"]))
    for task, output in trainers_numbers(ranker, transformed).items():
        np.testing.assert_allclose(outputs[task], output, atol=1e-6)
    for user, count in ((0, 50), (1, 1), (2, 0)):
        candidates = examples[10 : 10 + count]
        outputs = served["rank"](**rank_request(examples[user], candidates))
        rows = served["serving_default"](examples=written_out(examples[user], candidates))
        for task in TASKS:
            np.testing.assert_allclose(outputs[task], rows[task][:, 0], atol=1e-5)


def test_the_saved_signatures_are_the_contract(saved, spec):
    """Names, types and shapes; adding a tensor to `schema.served` without the graph that uses it fails here."""

    def described(tensors):
        return {tensor.name: (tf.as_dtype(tensor.dtype), tensor.shape) for tensor in tensors}

    def as_saved(infos):
        specs = {name: TensorSpec.of(name, info) for name, info in infos.items()}
        return {name: (tensor.dtype, tensor.shape) for name, tensor in specs.items()}

    signature_def = meta_graph(saved).signature_def
    contract = served_contract.signatures(spec)
    assert {name for name in signature_def if not name.startswith("__")} == contract.keys()
    for name, signature in contract.items():
        assert as_saved(signature_def[name].inputs) == described(signature.inputs)
        assert as_saved(signature_def[name].outputs) == described(signature.outputs)
    assert set(signature_def["rank"].defaults) == {"exponents"}


def test_behaviours_are_told_from_padding_where_ids_are_not_embedded(spec):
    unread = spec.model_copy(update={"model": spec.model.model_copy(update={"embed_ids": ()})})
    assert "watched_item_id" in input_names(unread, "predict")
    assert "watched_item_id" not in input_names(unread, "rank")


def test_the_score_is_the_product_of_powers_and_orders_the_candidates(served, examples, rank_request):
    outputs = served["rank"](**rank_request(examples[0], examples[:30], exponents=(2.0, 0.0, -0.5)))
    product = outputs["click"] ** 2.0 * outputs["like"] ** -0.5
    np.testing.assert_allclose(outputs["score"], product, rtol=1e-5)
    assert sorted(outputs["order"].numpy()) == list(range(30))
    assert (np.diff(outputs["score"].numpy()[outputs["order"]]) <= 1e-6).all()


def test_exponents_default_to_the_specs(ranker, transformed, spec, examples, rank_request):
    exponents = {"click": 0.25, "completion": 1.0, "like": 3.0}
    tasks = tuple(task.model_copy(update={"exponent": exponents[task.name]}) for task in spec.tasks)
    weighted = spec.model_copy(update={"tasks": tasks})
    servable = signatures.Servable(build_ranker(weighted, transformed.output), transformed.output)
    columns = {name: value for name, value in rank_request(examples[0], examples[:5]).items() if name != "exponents"}
    outputs = servable.functions["rank"](columns)
    product = np.prod([outputs[name] ** exponent for name, exponent in exponents.items()], axis=0)
    np.testing.assert_allclose(outputs["score"], product, rtol=1e-5)


def test_equal_scores_keep_the_order_of_the_candidates():
    probabilities = [tf.constant([0.2, 0.9, 0.2, 0.9]), tf.constant([0.5, 0.5, 0.5, 0.5])]
    ranking = signatures.fused_ranking(probabilities, tf.constant([1.0, 1.0]))
    np.testing.assert_allclose(ranking["score"], [0.1, 0.45, 0.1, 0.45], rtol=1e-6)
    assert ranking["order"].numpy().tolist() == [1, 3, 0, 2]


def test_scores_too_small_for_a_float_are_still_ordered():
    ranking = signatures.fused_ranking([tf.constant([1e-20, 0.0, 1e-19])], tf.constant([4.0]))
    assert ranking["score"].numpy().tolist() == [0.0, 0.0, 0.0]
    assert ranking["order"].numpy().tolist() == [2, 0, 1]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_exponents_that_are_not_finite_are_refused(served, examples, rank_request, wrong):
    with pytest.raises(tf.errors.InvalidArgumentError, match="exponents: expected finite numbers"):
        served["rank"](**rank_request(examples[0], examples[:3], exponents=(1.0, wrong, 1.0)))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_number_of_examples_is_served(served, transformed, examples, rank_request, predict_request, count):
    calls = {
        "serving_default": {"examples": tf.constant(transformed.raw["eval"][:count], tf.string)},
        "predict": predict_request(examples[:count]),
        "rank": rank_request(examples[0], examples[:count]),
    }
    for signature, request in calls.items():
        assert {output.shape.as_list()[0] for output in served[signature](**request).values()} == {count}


def test_labels_and_spaces_are_not_asked_for(served, expected, transformed, spec):
    targets = {name(task) for task in spec.tasks for name in (label_name, space_name)}
    example = tf.train.Example.FromString(transformed.raw["eval"][0])
    for name in [*targets, "timestamp"]:
        del example.features.feature[name]
    outputs = served["serving_default"](examples=tf.constant([example.SerializeToString()]))
    np.testing.assert_allclose(outputs["click"], expected["click"][:1], atol=1e-6)


def test_lists_may_be_absent_from_an_example_and_empty_in_a_request(
    served, spec, examples, rank_request, predict_request, written_out
):
    bare = [without_lists(example, spec) for example in examples[:4]]
    rows = served["serving_default"](examples=written_out(bare[0], bare))
    ranked = served["rank"](**rank_request(bare[0], bare))
    assert np.isfinite(ranked["score"]).all()
    np.testing.assert_allclose(ranked["click"], rows["click"][:, 0], atol=1e-6)
    same_user = [tf.train.Example.FromString(record) for record in written_out(bare[0], bare).numpy()]
    np.testing.assert_allclose(served["predict"](**predict_request(same_user))["click"], rows["click"], atol=1e-6)


def test_unknown_ids_and_missing_numbers_are_ranked(served, spec, examples, rank_request):
    request = rank_request(examples[0], examples[:4])
    for column in model_columns(spec):
        values = request[column.name]
        unknown = "never seen" if column.dtype == "string" else np.float32(np.nan)
        if column.dtype == "string" or column.feature is not None:
            request[column.name] = tf.fill(tf.shape(values), unknown)
    outputs = served["rank"](**request)
    assert np.isfinite(outputs["score"]).all()
    # Nothing but the tags tells them apart, where a row has more of them.
    assert len({round(float(output), 6) for output in outputs["click"]}) <= 2


def test_a_history_above_its_length_keeps_the_newest(served, spec, examples, rank_request, predict_request):
    user, longer = (tf.train.Example.FromString(examples[1].SerializeToString()) for _ in range(2))
    lengths = {behaviour.name: behaviour.max_length for behaviour in spec.behaviours}
    for column in model_columns(spec):
        if column.behaviour is not None:
            newest, older = (
                (values_of(examples[3], column) * 20)[: lengths[column.behaviour] * (column.width or 1)],
                values_of(examples[4], column),
            )
            assert newest
            assert older
            for example, values in ((user, newest), (longer, older + newest)):
                feature = example.features.feature[column.name]
                written = feature.bytes_list if column.dtype == "string" else feature.float_list
                written.value[:] = values
    newest_scores, longer_scores = (served["rank"](**rank_request(example, examples[:4])) for example in (user, longer))
    np.testing.assert_allclose(longer_scores["click"], newest_scores["click"], atol=1e-6)
    newest_scores, longer_scores = (served["predict"](**predict_request([example])) for example in (user, longer))
    np.testing.assert_allclose(longer_scores["click"], newest_scores["click"], atol=1e-6)


@pytest.mark.parametrize("signature", ["rank", "predict"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_age_that_is_not_finite_is_refused(served, examples, rank_request, predict_request, signature, wrong):
    user = next(example for example in examples if example.features.feature["liked_age_s"].float_list.value)
    request = rank_request(user, [user]) if signature == "rank" else predict_request([user])
    request["liked_age_s"] = tf.fill(tf.shape(request["liked_age_s"]), np.float32(wrong))
    with pytest.raises(tf.errors.InvalidArgumentError, match="liked_age_s: expected finite seconds"):
        served[signature](**request)


@pytest.mark.parametrize("name", ["author", "tags", "price", "embedding", "watched_age_s", "liked_author"])
def test_a_wrong_length_is_refused_by_the_name_of_the_input(served, examples, rank_request, name):
    request = rank_request(examples[1], examples[:4])
    request[name] = tf.concat([request[name], request[name][:1] if len(request[name]) else [b"a"]], axis=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name}: expected the length of "):
        served["rank"](**request)


def test_predict_refuses_a_wrong_width_by_the_name_of_the_input(served, examples, predict_request):
    request = predict_request(examples[:4])
    request["watched_age_s"] = request["watched_age_s"][:, :1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="watched_age_s: expected the length of watched_item_id"):
        served["predict"](**request)


@pytest.mark.parametrize("signature", ["rank", "predict"])
def test_numbers_that_are_no_whole_vectors_are_refused(served, examples, rank_request, predict_request, signature):
    request = rank_request(examples[1], examples[:4]) if signature == "rank" else predict_request(examples[:4])
    request["watched_embedding"] = request["watched_embedding"][..., :-1]
    message = "watched_embedding: expected 3 times the length of watched_item_id"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served[signature](**request)


def test_json_holds_vectors_as_lists_and_a_behaviours_as_one(saved, served, spec, examples, rank_request):
    """As TensorFlow Serving's REST takes them; a user without a past has empty lists."""
    model = SavedModel(Path(saved))
    lengths = {len(values_of(example, past(spec))): example for example in examples}
    for length in (0, 5):
        request = rank_request(lengths[length], examples[:4])
        body = {name: jsonable(value) for name, value in request.items()}
        assert len(body["watched_embedding"]) == 3 * length
        assert np.shape(body["embedding"]) == (4, 3)
        inputs = read_inputs(parse(json.dumps({"inputs": body}).encode()), model.signatures["rank"])
        answer = predict(model, model.signatures["rank"], inputs, ("click",), Limits())
        np.testing.assert_allclose(answer["click"], served["rank"](**request)["click"], atol=1e-6)
    model.close()


def past(spec: RankingSpec):
    return next(column for column in model_columns(spec) if column.name == "watched_item_id")


def jsonable(value: tf.Tensor):
    return (
        np.vectorize(bytes.decode, otypes=[object])(value).tolist()
        if value.dtype == tf.string
        else value.numpy().tolist()
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("hour", ["1"]), ("author", "a"), ("tags", ["a"]), ("exponents", np.float32([1.0])), ("item_id", [["a"]])],
)
def test_a_session_that_compares_no_shapes_still_refuses_a_wrong_one(saved, examples, rank_request, name, value):
    request = {**rank_request(examples[0], examples[:1]), name: value}
    model = SavedModel(Path(saved))
    feeds = {key: Tensor.from_proto(tf.make_tensor_proto(np.asarray(value))) for key, value in request.items()}
    with pytest.raises(ServingError, match=f"shape_of_{name}"):
        model.run(model.signatures["rank"], feeds, ["score"])
    model.close()


def test_a_ranker_that_reads_nothing_of_the_candidates_has_no_rank(spec, transformed_for):
    reads_users = spec.model_copy(
        update={
            "features": tuple(feature for feature in spec.features if feature.source != "items"),
            "model": spec.model.model_copy(update={"embed_ids": ("user_id",)}),
        }
    )
    transform = transformed_for(reads_users).output
    servable = signatures.Servable(build_ranker(reads_users, transform), transform)
    assert set(servable.functions) == {"serving_default", "predict"}


def meta_graph(directory: str):
    with tf.io.gfile.GFile(f"{directory}/saved_model.pb", "rb") as file:
        return saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0]
