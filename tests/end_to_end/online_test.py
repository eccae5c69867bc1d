"""Asked by ids, from an online store that the commands fill, a pushed model says what it says of full requests."""

import csv
import gzip
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from whole_runs import FULCRUM, PROJECT, Run, fulcrum

from ingest.rank_request import RequestLogs
from pipeline.online.gateway import StoreCompleting
from report.summary import load_summary
from schema.loading import load_spec
from schema.served import SPEC_FILE
from schema.spec import RankingSpec
from serving.client import Target, connect, predict
from serving.gateway.request_log import RequestLog
from serving.local_server.server import ModelServer, ServerOptions
from serving.requests import rank_request
from serving.store.opening import open_store

BEFORE, LAST = "2026-01-03", "2026-01-04"
# The last moment of the fourth day.
AT = 1_767_225_600_000 + 4 * 86_400_000 - 1


@pytest.fixture(scope="module")
def url(run: Run, tmp_path_factory) -> str:
    """A store at the end of the third day, to which the fourth's events are added."""
    folder = tmp_path_factory.mktemp("store")
    url = f"sqlite://{folder}/store.db"
    arguments = (run.spec, "--logs", run.logs, "--output", folder, "--store", url, "--grace", 0)
    materialized = fulcrum("materialize", *arguments, "--until", BEFORE)
    assert materialized.code == 0, materialized.err
    assert f"complete until {BEFORE}" in materialized.out
    (file,) = (Path(run.logs) / LAST).glob("impressions-*.csv.gz")
    with gzip.open(file, "rt") as stream:
        lines = [json.dumps(row) for row in csv.DictReader(stream)]
    (folder / "events.jsonl").write_text("\n".join([*lines, "no event"]))
    with (folder / "events.jsonl").open() as events:
        update = [*FULCRUM, "update", run.spec, "--store", url, "--day", LAST, "--stream", "log"]
        done = subprocess.run(update, stdin=events, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"{len(lines):,} events counted" in done.stdout
    assert "left out 1 times" in done.stdout
    shown = fulcrum("show", url)
    assert shown.code == 0, shown.err
    assert BEFORE in shown.out
    assert LAST in shown.out
    return url


def test_a_pushed_model_ranks_by_ids_what_it_ranks_by_full_requests(run: Run, url, tmp_path):
    model = Path(load_summary(run.output).places["model"]) / "Format-Serving"
    spec = RankingSpec.from_json((model / SPEC_FILE).read_text())
    logs = RequestLogs.read(load_spec(run.spec), str(run.logs))
    users = sorted(set(logs.log["user"].to_pylist()))[::20]
    items = sorted(set(logs.log["item"].to_pylist()))[:40]
    (tmp_path / "shortvideo").mkdir()
    os.symlink(model, tmp_path / "shortvideo" / "1")
    completing = StoreCompleting(spec, open_store(url))
    logged = tmp_path / "requests.jsonl"
    options = ServerOptions(grpc_port=0, rest_port=0, completing=completing, request_log=RequestLog(logged, 1.0))
    with ModelServer(tmp_path / "shortvideo", options) as server:
        for port, protocol in ((server.grpc_port, "grpc"), (server.rest_port, "http")):
            with connect(f"{protocol}://127.0.0.1:{port}", Target("shortvideo"), 60) as client:
                for user in [*users, "nobody"]:
                    by_ids = {
                        "user_id": np.array(user.encode(), object),
                        "item_id": np.array([item.encode() for item in items], object),
                        "timestamp": np.array(AT),
                    }
                    sides = logs.user_columns(user, AT), logs.candidate_columns(items, user, AT)
                    full = predict(client, "rank", rank_request(spec, *sides))
                    completed = predict(client, "rank", by_ids)
                    assert {name: values.tolist() for name, values in completed.items()} == {
                        name: values.tolist() for name, values in full.items()
                    }
    compared = fulcrum("consistency", run.spec, "--logs", run.logs, "--requests", logged, "--json")
    assert compared.code == 0, compared.out + compared.err
    report = json.loads(compared.out)
    assert (report["requests"], report["too_new"], report["unreadable"]) == (2 * (len(users) + 1), 0, 0)
    assert all(column["equal"] >= report["requests"] for column in report["columns"])
