"""No skew: what the pipeline trained and evaluated on is what is asked of the served model, by either protocol.

Scores of 1,000 Deskdrop impressions as ingest wrote them, against requests whose user side is built anew from the log.
"""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from whole_runs import Run

from ingest.rank_request import RequestLogs
from ingest.rows import events_of
from report.summary import load_summary
from schema.columns import MISSING, model_columns
from schema.loading import load_spec
from schema.spec import RankingSpec
from serving.client import Target, connect, predict, rank
from serving.local_server.server import ModelServer, ServerOptions
from serving.model.predict import Limits
from serving.requests import Inputs, rank_request

IMPRESSIONS = 1_000
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def spec(deskdrop_run: Run) -> RankingSpec:
    return load_spec(deskdrop_run.spec)


@pytest.fixture(scope="module")
def model(deskdrop_run: Run) -> Path:
    return Path(load_summary(deskdrop_run.output).places["model"]) / "Format-Serving"


@pytest.fixture(scope="module")
def ingested(deskdrop_run: Run) -> dict[tuple[str, str, int], bytes]:
    """Each example of the eval and test splits by user, item and time; where several share them, none."""
    examples = Path(load_summary(deskdrop_run.output).places["examples"])
    files = [str(path) for split in ("eval", "test") for path in sorted((examples / f"Split-{split}").iterdir())]
    by_key: dict[tuple[str, str, int], list[bytes]] = {}
    for serialized in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(serialized).features.feature
        user, item = (feature[name].bytes_list.value[0].decode() for name in ("user_id", "item_id"))
        by_key.setdefault((user, item, feature["timestamp"].int64_list.value[0]), []).append(serialized)
    return {key: same[0] for key, same in by_key.items() if len(same) == 1}


@pytest.fixture(scope="module")
def impressions(spec, deskdrop_run, ingested) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """Rank requests of one candidate each, from the log alone; and the same impressions as ingest wrote them."""
    logs = RequestLogs.read(spec, str(deskdrop_run.logs))
    context = [feature.name for feature in spec.features_of("log") if not feature.derive]
    views = logs.log.filter(np.equal(logs.log["event"].to_numpy(), events_of(spec).index(spec.log.impression)))
    rows = [row for row in views.to_pylist() if (row["user"], row["item"], row["time"]) in ingested]
    chosen = np.random.default_rng(1).choice(len(rows), IMPRESSIONS, replace=False)
    requests, examples = [], []
    for row in (rows[i] for i in chosen):
        request_features = {name: row[f"feature:{name}"] for name in context}
        requests.append(request_of(spec, logs, row["user"], [row["item"]], row["time"], request_features))
        examples.append(ingested[row["user"], row["item"], row["time"]])
    return requests, np.array(examples, object)


@pytest.fixture(scope="module")
def expected(model, impressions) -> dict[str, np.ndarray]:
    """What the Evaluator reads: the SavedModel's `serving_default` under TensorFlow 2, of the ingested examples."""
    outputs = tf.saved_model.load(str(model)).signatures["serving_default"](examples=tf.constant(impressions[1]))
    return {task: output.numpy()[:, 0] for task, output in outputs.items()}


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    base_path = tmp_path_factory.mktemp("served") / "deskdrop"
    base_path.mkdir()
    (base_path / "1").symlink_to(model)
    with ModelServer(base_path, ServerOptions(grpc_port=0, rest_port=0, limits=Limits(finite=False))) as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def client(server, request):
    port = server.grpc_port if request.param == "grpc" else server.rest_port
    with connect(f"{request.param}://127.0.0.1:{port}", Target("deskdrop"), 60) as connection:
        yield connection


def assert_same(served: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert served.keys() == expected.keys()
    for task, probabilities in expected.items():
        # A model that says the same of everybody would agree with anything.
        assert probabilities.std() > 1e-4
        np.testing.assert_allclose(served[task].ravel(), probabilities, rtol=0, atol=TOLERANCE)


def test_serving_default_scores_the_examples_as_the_evaluator_does(client, impressions, expected):
    assert_same(predict(client, "serving_default", {"examples": impressions[1]}), expected)


def test_rank_scores_requests_built_anew_from_the_log_as_the_evaluator_scores_examples(client, impressions, expected):
    rankings = [rank(client, columns) for columns in impressions[0]]
    served = {task: np.array([ranking.tasks[task][0] for ranking in rankings]) for task in expected}
    assert_same(served, expected)


def test_predict_scores_requests_built_anew_from_the_log_as_the_evaluator_scores_examples(
    client, spec, impressions, expected
):
    assert_same(predict(client, "predict", in_rows(spec, impressions[0])), expected)


def test_candidates_in_one_request_score_as_they_do_one_by_one(client, impressions):
    columns, items = impressions[0][0], [request["item_id"][0] for request in impressions[0][:200]]
    together = rank(client, {**columns, "item_id": np.array(items, object)})
    for i in (0, 1, 77, 199):
        alone = rank(client, {**columns, "item_id": np.array(items[i : i + 1], object)})
        for task, probabilities in alone.tasks.items():
            np.testing.assert_allclose(together.tasks[task][i], probabilities[0], rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(together.order, np.argsort(-together.score, kind="stable"))


def test_unknown_ids_share_the_out_of_vocabulary_buckets_and_an_empty_history_ranks(client, deskdrop_run, spec):
    logs = RequestLogs.read(spec, str(deskdrop_run.logs), ["nobody"], [])
    columns = request_of(spec, logs, "nobody", ["new one", "new two"], 1_488_000_000)
    assert columns["country"] == MISSING.encode()
    ranking = rank(client, columns)
    assert np.isfinite(ranking.score).all()
    assert len(ranking.order) == 2
    assert rank(client, request_of(spec, logs, "nobody", [], 1_488_000_000)).order.tolist() == []


def request_of(
    spec: RankingSpec,
    logs: RequestLogs,
    user: str,
    items: list[str],
    at: int,
    context: dict[str, str | None] | None = None,
) -> Inputs:
    return rank_request(spec, logs.user_columns(user, at, context), logs.candidate_columns(items, user, at, context))


def in_rows(spec: RankingSpec, requests: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Requests of one candidate each as the columns of `predict`: `[B]`, lists padded to `[B, m]`."""
    columns = {}
    for column in model_columns(spec):
        values = [
            np.atleast_1d(np.squeeze(request[column.name], 0) if column.side == "item" else request[column.name])
            for request in requests
        ]
        width = max(map(len, values)) if column.ragged else 1
        if column.dtype == "string":
            padded = np.full((len(values), width), b"", object)
        else:
            padded = np.zeros((len(values), width), np.float32)
        for row, value in zip(padded, values, strict=True):
            row[: len(value)] = value
        columns[column.name] = padded if column.ragged else padded[:, 0]
    return columns
