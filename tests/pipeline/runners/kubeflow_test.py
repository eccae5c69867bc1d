"""The compiled pipeline: what it takes, what it must not hold, and what its containers get."""

import copy
import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kfp import components
from tfx.types import Channel, artifact
from typer.testing import CliRunner

from pipeline.cli.compile_arguments import prepare
from pipeline.cli.main import app
from pipeline.runners.constants import CONSTANTS, CONSTANTS_OF, unpack
from pipeline.runners.kubeflow import _check_artifact_types, compile_pipeline
from pipeline.runners.kubeflow_limits import SizeError, check_size, measure
from pipeline.runners.resources import ResourcesError
from schema.loading import load_spec
from schema.stages import ingest_part

PROJECT = Path(__file__).parents[3]
SPEC = PROJECT / "schema" / "specs" / "shortvideo.yaml"
BEAM = {"InteractionExampleGen", "StatisticsGen", "Transform", "SeesawEvaluator"}


def compiled(**changed: object) -> str:
    arguments = {"image": "registry.example.com/fulcrum:1.0", "root": "gs://bucket/runs"} | changed
    return compile_pipeline(**vars(prepare(SPEC, **arguments)))


@pytest.fixture(scope="module")
def text() -> str:
    return compiled(logs="gs://bucket/logs", resources=["Trainer:cpu=8,memory=32G,gpu=1"])


@pytest.fixture(scope="module")
def spec(text: str) -> dict:
    return yaml.safe_load(text)


def containers(spec: dict) -> dict[str, dict]:
    return {
        name.removesuffix("_executor"): executor["container"]
        for name, executor in spec["deploymentSpec"]["executors"].items()
    }


def test_kubeflow_pipelines_loads_it(text, tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    loaded = components.load_component_from_file(str(path))
    assert loaded.pipeline_spec.schema_version == "2.1.0"
    assert loaded.name == "shortvideo"
    assert loaded.required_inputs == ["push_destination"]


def test_every_parameter_has_a_description_and_a_default_where_one_was_given(spec):
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert all(definition["description"] for definition in parameters.values())
    defaults = {name: definition.get("defaultValue") for name, definition in parameters.items() if name != CONSTANTS}
    assert parameters[CONSTANTS]["isOptional"]
    assert defaults == {
        "logs": "gs://bucket/logs",
        "window": "",
        "state": "gs://bucket/runs/state",
        "epochs": 0,
        "routing": "ple",
        "compare_with": "",
        "start_from": "",
        "start_reference_from": "",
        "push_destination": None,
        "beam_args": "--runner=FnApiRunner",
    }


def test_it_names_no_path_of_this_machine_and_nothing_of_its_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_PASSWORD", "correct horse battery staple")
    monkeypatch.chdir(tmp_path)
    written = compiled()
    for private in (PROJECT, tmp_path, sys.prefix, os.environ["DATABASE_PASSWORD"]):
        assert str(private) not in written, f"{private} is in the compiled pipeline"
    assert "file://" not in written


def test_the_same_arguments_give_the_same_bytes_in_every_process(text, tmp_path):
    out = tmp_path / "pipeline.yaml"
    arguments = {"--logs": "gs://bucket/logs", "--resources": "Trainer:cpu=8,memory=32G,gpu=1"}
    arguments |= {"--image": "registry.example.com/fulcrum:1.0", "--root": "gs://bucket/runs", "--out": str(out)}
    command = [f"{sys.prefix}/bin/fulcrum", "compile", str(SPEC), *itertools.chain(*arguments.items())]
    # Sets of texts have another order there.
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "7"}, check=True, capture_output=True)
    assert out.read_text() == text


def test_it_has_only_what_open_source_kubeflow_can_run(spec):
    executors = spec["deploymentSpec"]["executors"].values()
    assert all(set(executor) == {"container"} for executor in executors)
    for container in containers(spec).values():
        assert container["image"] == "registry.example.com/fulcrum:1.0"
        assert container["command"] == ["python", "-m", "pipeline.kubeflow_entrypoint", "--local_artifacts"]


def test_nothing_runs_before_the_parameters_are_checked(spec):
    tasks = spec["root"]["dag"]["tasks"]
    assert "Preflight" in tasks["InteractionExampleGen"]["dependentTasks"]
    parameters = {name for task in tasks.values() for name in task["inputs"].get("parameters", {})}
    assert set(spec["root"]["inputDefinitions"]["parameters"]) <= parameters | {"logs"}


def test_components_on_beam_get_its_arguments_from_the_run(spec):
    tasks = spec["root"]["dag"]["tasks"]
    having = {name for name, task in tasks.items() if "beam_args" in task["inputs"].get("parameters", {})}
    assert having >= BEAM | {"Preflight"}
    for name in BEAM:
        assert tasks[name]["inputs"]["parameters"]["beam_args"] == {"componentInputParameter": "beam_args"}
        assert not any("runner" in argument for argument in containers(spec)[name]["args"])


def test_containers_get_the_resources_they_were_given(spec):
    trainer, pusher = containers(spec)["Trainer"]["resources"], containers(spec)["Pusher"]["resources"]
    assert (trainer["resourceCpuLimit"], trainer["resourceMemoryLimit"]) == ("8", "32G")
    assert (trainer["accelerator"]["resourceType"], trainer["accelerator"]["resourceCount"]) == ("nvidia.com/gpu", "1")
    assert (pusher["cpuLimit"], pusher["memoryLimit"]) == (2.0, 8.0)
    assert "accelerator" not in pusher


def test_resources_of_a_component_that_there_is_not_are_refused():
    with pytest.raises(ResourcesError, match=r"expected a component of .*Trainer.*, got 'Trainr'"):
        compiled(resources=["Trainr:cpu=8"])


def test_vertex_ai_gets_a_job_that_reads_its_store_directly():
    job = json.loads(compiled(vertex=True))
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/runs"
    assert job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]["epochs"]["defaultValue"] == 0
    for container in containers(job["pipelineSpec"]).values():
        assert container["command"] == ["python", "-m", "pipeline.kubeflow_entrypoint"]


def test_an_artifact_type_that_a_container_would_not_know_is_refused():
    class Unknown(artifact.Artifact):
        TYPE_NAME = "fulcrum.Unknown"

    class Component:
        id, inputs, outputs = "Maker", {}, {"made": Channel(Unknown)}

    with pytest.raises(TypeError, match=r"Maker\.made: the artifact type fulcrum.Unknown is not among"):
        _check_artifact_types([Component()])


def test_the_spec_travels_once_and_its_tasks_refer_to_it(text, spec):
    tasks, arguments = spec["root"]["dag"]["tasks"], containers(spec)
    packed = spec["root"]["inputDefinitions"]["parameters"][CONSTANTS]["defaultValue"]
    assert text.count(packed) == 1
    assert "author_id" not in text, "a column's name stands in the file in clear"
    referring = {name for name, task in tasks.items() if CONSTANTS in task["inputs"].get("parameters", {})}
    assert referring >= {"Preflight", "InteractionExampleGen", "SchemaSource", "Transform", "Trainer"}
    for name in referring:
        assert tasks[name]["inputs"]["parameters"][CONSTANTS] == {"componentInputParameter": CONSTANTS}
        assert arguments[name]["args"][-2:] == [CONSTANTS_OF, name]
        # Kubeflow refuses a task that gives other parameters than its component declares.
        assert (
            spec["components"][name]["inputDefinitions"]["parameters"].keys()
            == tasks[name]["inputs"]["parameters"].keys()
        )
    assert unpack(packed, "InteractionExampleGen") == {"spec": ingest_part(load_spec(SPEC)).to_json()}


def wide_spec(path: Path, features: int) -> Path:
    """Writes the spec with so many features more, whose names can hardly be compressed, and with limits on drift."""
    draw = random.Random(1)
    wide = yaml.safe_load(SPEC.read_text())
    names = [f"f{draw.getrandbits(64):016x}" for _ in range(features)]
    wide["features"] += [{"name": name, "source": "items", "kind": "categorical"} for name in names]
    wide["drift"] = {"limits": dict.fromkeys(names, 0.1)}
    path.write_text(yaml.safe_dump(wide))
    return path


def test_a_pipeline_of_a_thousand_features_is_within_kubeflows_limits(tmp_path):
    wide = prepare(wide_spec(tmp_path / "wide.yaml", 1_000), "registry.example.com/fulcrum:1.0", "gs://bucket/runs")
    text = compile_pipeline(**vars(wide))
    assert len(text.encode()) <= 400_000
    pipeline = yaml.safe_load(text)
    assert len(json.dumps(pipeline["root"], separators=(",", ":"))) <= 64_000
    sizes = measure(pipeline)
    assert sizes["the root component"] == (len(json.dumps(pipeline["root"], separators=(",", ":"))), 64_000)
    assert {name for name, (size, limit) in sizes.items() if size > limit} == set()
    longest = sizes["the longest argument of the task SchemaSource"][0]
    packed = pipeline["root"]["inputDefinitions"]["parameters"][CONSTANTS]["defaultValue"]
    assert len(packed) < longest


def test_a_pipeline_above_the_limits_is_refused_with_the_numbers(spec):
    large = copy.deepcopy(spec)
    large["root"]["inputDefinitions"]["parameters"][CONSTANTS]["defaultValue"] = "x" * 500_000
    root_bytes, pipeline_bytes = (len(json.dumps(message, separators=(",", ":"))) for message in (large["root"], large))
    with pytest.raises(SizeError) as refused:
        check_size(large)
    assert f"the root component has {root_bytes:,} bytes, of which Kubeflow takes 64,000" in str(refused.value)
    assert f"the whole pipeline has {pipeline_bytes:,} bytes, of which Kubeflow takes 400,000" in str(refused.value)
    assert "the longest argument of the task SchemaSource has 500," in str(refused.value)
    check_size(spec)


def test_the_command_says_that_a_pipeline_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.runners.kubeflow_limits.ROOT_LIMIT", 1_000)
    out = tmp_path / "pipeline.yaml"
    options = ["--image", "registry.example.com/fulcrum:1.0", "--root", "gs://bucket/runs", "--out", str(out)]
    ended = CliRunner().invoke(app, ["compile", str(SPEC), *options])
    assert ended.exit_code == 2
    assert not out.exists()
