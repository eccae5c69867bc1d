"""TensorFlow Serving's configuration parses as its own messages, and the YAML files agree with it."""

import shutil
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.config import model_server_config_pb2

import serving
from serving.local_server.server import ModelServer, ServerOptions

FOLDER = Path(serving.__file__).parent / "tensorflow_serving"


def models(text: str) -> model_server_config_pb2.ModelServerConfig:
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


def manifest(kind: str) -> dict:
    (resource,) = [
        document
        for document in yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
        if document["kind"] == kind
    ]
    return resource


@pytest.mark.parametrize("name", ["models.config", "models.canary.config"])
def test_the_model_configurations_parse_and_name_one_model(name):
    (config,) = models((FOLDER / name).read_text()).model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == ("ranker", "/models/ranker", "tensorflow")


def test_the_canary_configuration_is_what_a_server_takes(toys, tmp_path, kit):
    request = model_management_pb2.ReloadConfigRequest(config=models((FOLDER / "models.canary.config").read_text()))
    (config,) = request.config.model_config_list.config
    base_path = tmp_path / "ranker"
    for version in (1, 2):
        shutil.copytree(toys(version), base_path / str(version))
    options = ServerOptions(grpc_port=0, rest_port=0, policy=config.model_version_policy)
    with ModelServer(base_path, options) as server:
        client = kit.GrpcClient(f"127.0.0.1:{server.grpc_port}")
        config.base_path = str(base_path)
        client.call(client.model.HandleReloadConfigRequest, request)
        answers = [
            client.predict(spec={"name": "ranker", "label": label}, x=[0.0])["y"] for label in ("stable", "canary")
        ]
    assert answers == [[1.0], [2.0]]


def test_the_manifest_carries_the_same_configuration_as_the_files():
    data = manifest("ConfigMap")["data"]
    assert models(data["models.config"]) == models((FOLDER / "models.config").read_text())
    assert data["monitoring.config"] == (FOLDER / "monitoring.config").read_text()


def test_the_manifest_probes_and_ports_point_at_the_server():
    (container,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {f"--port={ports['grpc']}", f"--rest_api_port={ports['rest']}"} <= set(container["args"])
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v1/models/ranker/metadata", "port": "rest"}
    assert container["livenessProbe"]["tcpSocket"]["port"] == "grpc"
    assert {"requests", "limits"} == container["resources"].keys()
    target = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", manifest("Deployment")["metadata"]["name"])


def test_no_deployment_that_ranks_turns_batching_on():
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["ranker"]
    (container,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
    for arguments in (compose["command"], container["args"]):
        assert "--enable_batching" not in arguments
        assert "--model_config_file=/config/models.config" in arguments
    assert compose["image"] == container["image"]
