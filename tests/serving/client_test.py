"""The client against the local server: the same answers over both protocols, and errors that say what is wrong."""

import socket
import threading

import numpy as np
import pytest
import tensorflow as tf

from serving.client import ClientError, Target, connect, predict, rank
from serving.load import drive
from serving.local_server.server import ModelServer, ServerOptions
from serving.model.predict import Limits

LATIN_1 = "ç".encode("latin-1")


class PairRanker(tf.Module):
    """like = 1 if the item was viewed, else 0.5; price = 1 / (1 + price), a missing one is 1.

    A scalar, a sequence, and a default for the exponents, as the contract of `rank` has them.
    """

    @tf.function(
        input_signature=[
            tf.TensorSpec([], tf.string, name="user_id"),
            tf.TensorSpec([None], tf.string, name="viewed_item_id"),
            tf.TensorSpec([None], tf.string, name="item_id"),
            tf.TensorSpec([None], tf.float32, name="price"),
            tf.TensorSpec([None, None], tf.string, name="tags"),
            tf.TensorSpec([2], tf.float32, name="exponents"),
        ]
    )
    def rank(self, user_id, viewed_item_id, item_id, price, tags, exponents=tf.constant([1.0, 1.0])):  # noqa: B008
        viewed = tf.reduce_any(item_id[:, None] == viewed_item_id[None, :], axis=1)
        like = tf.where(viewed, 1.0, 0.5)
        price = 1 / (1 + tf.where(tf.math.is_nan(price), 0.0, price))
        score = like ** exponents[0] * price ** exponents[1]
        # The user and the tags must get here, but have no say.
        score += 0.0 * tf.cast(tf.strings.length(user_id) + tf.size(tags), tf.float32)
        return {
            "like": like,
            "cheap": price,
            "score": score,
            "order": tf.argsort(score, direction="DESCENDING", stable=True),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def double(self, x):
        return {"y": 2 * x}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base_path, model = tmp_path_factory.mktemp("models") / "pairs", PairRanker()
    for version in (1, 2):
        tf.saved_model.save(model, str(base_path / str(version)), {"rank": model.rank, "serving_default": model.double})
    options = ServerOptions(grpc_port=0, rest_port=0, labels={"stable": 2}, limits=Limits(finite=False))
    with ModelServer(base_path, options) as running:
        yield running


def address(server: ModelServer, protocol: str) -> str:
    return f"{protocol}://127.0.0.1:{server.grpc_port if protocol == 'grpc' else server.rest_port}"


@pytest.fixture(params=["grpc", "http"])
def protocol(request) -> str:
    return request.param


@pytest.fixture
def client(server, protocol):
    with connect(address(server, protocol), Target("pairs")) as connection:
        yield connection


def texts(*values: bytes) -> np.ndarray:
    return np.array(values, object)


def columns(*items: bytes, viewed: tuple[bytes, ...] = (), price: tuple[float, ...] = ()) -> dict[str, np.ndarray]:
    return {
        "user_id": np.array(b"ann", object),
        "viewed_item_id": texts(*viewed),
        "item_id": texts(*items),
        "price": np.array(price, np.float32),
        "tags": np.full((len(items), 2), b"", object),
    }


def test_a_ranking_has_the_tasks_the_score_and_the_order(client):
    request = columns(b"a", b"b", LATIN_1, viewed=(b"b", LATIN_1), price=(0.0, 1.0, float("nan")))
    ranking = rank(client, request)
    assert ranking.tasks.keys() == {"like", "cheap"}
    np.testing.assert_allclose(ranking.tasks["like"], [0.5, 1, 1])
    np.testing.assert_allclose(ranking.tasks["cheap"], [1, 0.5, 1])
    np.testing.assert_allclose(ranking.score, [0.5, 0.5, 1])
    assert ranking.order.tolist() == [2, 0, 1]
    assert ranking.score.dtype == np.float32


def test_the_request_names_the_exponents(client):
    request = columns(b"a", b"b", viewed=(b"b",), price=(0.0, 1.0))
    assert rank(client, request, np.array([2.0, 1.0])).order.tolist() == [1, 0]
    np.testing.assert_allclose(rank(client, request, np.array([2.0, 1.0])).score, [0.25, 0.5])


def test_no_candidates_give_an_empty_ranking(client):
    ranking = rank(client, columns())
    assert ranking.score.shape == ranking.order.shape == ranking.tasks["like"].shape == (0,)


def test_a_version_or_a_label_can_be_asked(server, protocol):
    for target in (Target("pairs", version=2), Target("pairs", label="stable")):
        with connect(address(server, protocol), target) as client:
            assert len(rank(client, columns(b"a", price=(0.0,))).score) == 1
    with pytest.raises(ClientError, match="a version or a label"):
        Target("pairs", version=2, label="stable")


@pytest.mark.parametrize(
    ("target", "said", "codes"),
    [
        (Target("birds"), "the model served here is pairs", ("NOT_FOUND", 404)),
        (Target("pairs", version=7), "available: 2", ("NOT_FOUND", 404)),
        (Target("pairs", label="b/c d"), "Unrecognized servable version label: b/c d", ("INVALID_ARGUMENT", 400)),
    ],
)
def test_the_servers_reason_reaches_the_caller(server, protocol, target, said, codes):
    with connect(address(server, protocol), target) as client, pytest.raises(ClientError, match=said) as caught:
        rank(client, columns(b"a", price=(0.0,)))
    assert caught.value.code in codes
    assert address(server, protocol) in str(caught.value)


def test_a_request_that_does_not_fit_is_told_by_its_field(client):
    request = columns(b"a", price=(0.0,))
    del request["price"]
    with pytest.raises(ClientError, match="price"):
        rank(client, request)


def test_a_model_that_does_not_rank_is_told_apart(client):
    with pytest.raises(ClientError, match="ranks"):
        predict(client, "ranks", {"x": np.zeros(1, np.float32)})


def test_the_only_output_of_a_signature_is_read_too(client):
    (doubled,) = predict(client, "serving_default", {"x": np.array([1.5], np.float32)}).values()
    assert doubled.tolist() == [3.0]


def test_an_unreachable_server_is_named(protocol):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reason = rf"{protocol}://127.0.0.1:{port}: can't be reached"
    with connect(f"{protocol}://127.0.0.1:{port}", Target("pairs")) as client, pytest.raises(ClientError, match=reason):
        rank(client, columns())


def test_a_silent_server_is_not_waited_for(protocol):
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        connect(f"{protocol}://127.0.0.1:{silent.getsockname()[1]}", Target("pairs"), timeout_seconds=0.3) as client,
        pytest.raises(ClientError, match=r"no answer within 0.3 s"),
    ):
        rank(client, columns())


def test_what_is_no_model_server_is_told_apart():
    with socket.create_server(("127.0.0.1", 0)) as page:

        def answer() -> None:
            connection, _ = page.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")

        thread = threading.Thread(target=answer)
        thread.start()
        with (
            connect(f"http://127.0.0.1:{page.getsockname()[1]}", Target("pairs")) as client,
            pytest.raises(ClientError, match="expected a JSON object with 'outputs', got b'<html>'"),
        ):
            rank(client, columns())
        thread.join()


@pytest.mark.parametrize(
    "wrong", ["localhost:8500", "ftp://h:1", "grpc://", "http://h:port", "http://h:1/v1", "grpc://h:99999"]
)
def test_a_wrong_address_is_refused_with_what_was_expected(wrong):
    with pytest.raises(ClientError, match="expected an address such as grpc://localhost:8500") as caught:
        connect(wrong, Target("pairs"))
    assert wrong in str(caught.value)


def test_a_load_counts_each_request_once(server, protocol):
    with connect(address(server, protocol), Target("pairs")) as client:
        prepared = [client.prepare("rank", columns(b"a", price=(0.0,)))]
    load = drive(lambda: connect(address(server, protocol), Target("pairs")), prepared, concurrency=3, requests=40)
    assert len(load.latencies) == len(load.sent) == 40
    assert load.failures == []
    assert 0 < load.percentile(50) <= load.percentile(99) <= load.seconds
    assert load.qps == pytest.approx(40 / load.seconds)


def test_a_load_counts_failures_and_stops_at_too_many(server, protocol):
    with connect(address(server, protocol), Target("birds")) as client:
        prepared = [client.prepare("rank", columns(b"a", price=(0.0,)))]
    load = drive(lambda: connect(address(server, protocol), Target("birds")), prepared, requests=40, stop_at_failures=5)
    assert len(load.latencies) == 0
    assert len(load.failures) == 5
    assert "NOT_FOUND" in load.failures[0] or "404" in load.failures[0]
    assert np.isnan(load.percentile(99))


def test_a_load_ends_in_time(server, protocol):
    with connect(address(server, protocol), Target("pairs")) as client:
        prepared = [client.prepare("rank", columns(b"a", price=(0.0,)))]
    load = drive(lambda: connect(address(server, protocol), Target("pairs")), prepared, seconds=0.3)
    assert 0.3 <= load.seconds < 1.0
