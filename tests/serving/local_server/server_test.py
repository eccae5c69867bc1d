"""The server as a whole: hot swap under load, signals, metrics, reload, start."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import model_management_pb2

from serving.local_server.server import ModelServer, ServerOptions


def start(base_path, **options) -> ModelServer:
    return ModelServer(base_path, ServerOptions(grpc_port=0, rest_port=0, poll_seconds=0.05, **options))


def wait_for(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_ten_new_versions_under_constant_load_fail_no_request(toys, base_path, kit):
    shutil.copytree(toys(1), base_path / "1")
    failures, answers, done = [], [], threading.Event()

    def load(client):
        while not done.is_set():
            try:
                answers.append(float(client.predict(x=[0.0])["y"][0]))
            except Exception as error:
                failures.append(error)

    with start(base_path) as server:
        clients = [kit.GrpcClient(f"127.0.0.1:{server.grpc_port}"), kit.RestClient(f"127.0.0.1:{server.rest_port}")]
        threads = [threading.Thread(target=load, args=[client]) for client in clients]
        for thread in threads:
            thread.start()
        for version in range(2, 12):
            shutil.copytree(toys(1 + version % 2), base_path / str(version))
            wait_for(
                lambda version=version: (
                    clients[0].status()[0]
                    == {
                        "version": str(version),
                        "state": "AVAILABLE",
                        "status": {"error_code": "OK", "error_message": ""},
                    }
                )
            )
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(answers) > 100
    assert set(answers) == {1.0, 2.0}


def test_a_reload_of_the_configuration_moves_labels_and_versions(toys, base_path, kit):
    for version in (1, 2):
        shutil.copytree(toys(version), base_path / str(version))
    with start(base_path) as server:
        client = kit.GrpcClient(f"127.0.0.1:{server.grpc_port}")

        def reload(name: str = "toy", **labels: int):
            request = model_management_pb2.ReloadConfigRequest()
            config = request.config.model_config_list.config.add(name=name, base_path=str(base_path))
            config.model_version_policy.specific.versions.extend([1, 2])
            config.version_labels.update(labels)
            return client.call(client.model.HandleReloadConfigRequest, request)

        with pytest.raises(kit.RefusedError) as caught:
            reload(stable=1)
        assert caught.value.code == "FAILED_PRECONDITION"
        reload()
        wait_for(lambda: [entry["state"] for entry in client.status()] == ["AVAILABLE"] * 2)
        reload(stable=1, canary=2)
        assert client.predict(spec={"label": "stable"}, x=[0.0])["y"] == [1.0]
        with pytest.raises(kit.RefusedError, match="another") as caught:
            reload(name="another")
        assert caught.value.code == "UNIMPLEMENTED"


def test_metrics_have_tensorflow_servings_names_and_count_by_status(toys, base_path, kit):
    shutil.copytree(toys(1), base_path / "1")
    with start(base_path) as server:
        rest = kit.RestClient(f"127.0.0.1:{server.rest_port}")
        kit.GrpcClient(f"127.0.0.1:{server.grpc_port}").predict(x=[1.0])
        rest.predict(x=[1.0])
        with pytest.raises(kit.RefusedError):
            rest.predict(z=[1.0])
        text = rest.request("GET", "/monitoring/prometheus/metrics")[1].decode()
    assert ':tensorflow:serving:request_count{model_name="toy",status="OK"} 2.0' in text
    assert ':tensorflow:serving:request_count{model_name="toy",status="INVALID_ARGUMENT"} 1.0' in text
    assert ':tensorflow:serving:request_latency_count{API="predict",entrypoint="GRPC",model_name="toy"} 1.0' in text


def test_a_directory_without_versions_serves_as_soon_as_one_comes(toys, base_path, kit):
    with start(base_path) as server:
        client = kit.RestClient(f"127.0.0.1:{server.rest_port}")
        with pytest.raises(kit.RefusedError) as caught:
            client.predict(x=[0.0])
        assert caught.value.code == 404
        shutil.copytree(toys(1), base_path / "1")
        wait_for(lambda: client.request("GET", "/v1/models/toy/metadata")[0] == 200)


def test_a_start_that_can_not_succeed_says_why(toys, base_path, tmp_path):
    with pytest.raises(FileNotFoundError, match="one folder a version"):
        start(tmp_path / "absent")
    shutil.copytree(toys(1), tmp_path / "version")
    with pytest.raises(FileNotFoundError, match="is a version itself"):
        start(tmp_path / "version")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for options in ({"grpc_port": port, "rest_port": 0}, {"grpc_port": 0, "rest_port": port}):
            with pytest.raises(OSError):  # noqa: PT011 (the system words it)
                ModelServer(base_path, ServerOptions(**options))


def test_it_listens_on_the_loopback_only(contract_server):
    assert contract_server.options.host == "127.0.0.1"
    # Another address of this machine, which a server on all interfaces would answer at.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", contract_server.rest_port), timeout=1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_process_once_its_requests_are_answered(number, toys, base_path, kit):
    shutil.copytree(toys(1), base_path / "1")
    code = (
        # Where one that doesn't stop is at, stands on stderr.
        "import faulthandler, sys; from serving.local_server.logs import log_to\n"
        "from serving.local_server.server import ServerOptions, serve\n"
        "faulthandler.dump_traceback_later(18)\n"
        "log_to(sys.stdout); serve(sys.argv[1], ServerOptions(grpc_port=0, rest_port=0))"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(base_path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        events = {}
        while "serving" not in events:
            line = json.loads(process.stdout.readline())
            events[line["event"]] = line
        client = kit.GrpcClient(f"127.0.0.1:{events['serving']['grpc']}")
        calls = [client.prediction.Predict.future(kit.make_request(x=np.zeros(1_000, np.float32))) for _ in range(20)]
        calls[0].result()
        process.send_signal(number)
        for call in calls:
            assert call.code() in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)
        rest = process.communicate(timeout=20)[0]
        assert process.returncode == 0
        assert [json.loads(line)["event"] for line in rest.splitlines()][-1] == "stopped"
    finally:
        process.kill()
