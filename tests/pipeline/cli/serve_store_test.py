"""`fulcrum serve --store` in a process, before a server of a store that is silent, down, and back again."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import urllib3
from redis_server import NO_REDIS, REDIS, free_port, redis_server
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.online.materialize import materialize
from schema.loading import load_spec
from serving.store.opening import open_store

TIMEOUT = 0.5
BODY = json.dumps({"signature_name": "rank", "inputs": {"user_id": "ann", "item_id": ["a1", "a2"]}})

pytestmark = pytest.mark.skipif(not REDIS, reason=NO_REDIS)


def test_a_store_that_is_silent_is_done_without_and_found_once_it_is_back(tiny, model_dir, tmp_path):
    port = free_port()
    arguments = ["--store", f"redis://127.0.0.1:{port}/0", "--store-timeout", TIMEOUT, "--degrade"]
    serve = [sys.executable, "-m", "pipeline.cli", "serve", model_dir, "--grpc-port", 0, "--rest-port", 0, *arguments]
    # It takes connections and never says a word.
    with socket.create_server(("127.0.0.1", port)):
        process = subprocess.Popen(
            list(map(str, serve)), cwd=Path(__file__).parents[3], stderr=subprocess.PIPE, text=True
        )
        try:
            events = map(json.loads, process.stderr)
            assert next(event["reason"] for event in events if event["event"] == "store unavailable")
            address = next(event["rest"] for event in events if event["event"] == "serving")
            pool = urllib3.HTTPConnectionPool("127.0.0.1", address, timeout=60, retries=False)

            def ask() -> str | None:
                response = pool.request("POST", "/v1/models/tiny:predict", BODY)
                assert response.status == 200, response.data
                return response.headers.get("fulcrum-degraded")

            ask()
            start = time.monotonic()
            assert ask() == "StoreUnavailableError"
            # The connection, and once more: no longer than that.
            assert time.monotonic() - start < 2 * TIMEOUT + 1
        except BaseException:
            process.kill()
            raise
    try:
        with redis_server(tmp_path, port) as url:
            materialize(load_spec(tiny[0]), str(tiny[1]), str(tmp_path / "run"), open_store(url))
            limit = time.monotonic() + 20
            while ask() is not None:
                assert time.monotonic() < limit
        assert ask() == "StoreUnavailableError"
    finally:
        process.terminate()
        process.wait()


def test_a_store_that_is_down_is_an_error_at_the_start_where_it_is_not_to_be_done_without(model_dir):
    result = CliRunner().invoke(app, ["serve", str(model_dir), "--store", f"redis://127.0.0.1:{free_port()}/0"])
    assert result.exit_code == 2
    assert "127.0.0.1" in result.output
