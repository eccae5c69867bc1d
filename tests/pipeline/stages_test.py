"""Each node's cache key holds its stage's part of the spec."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tfx.orchestration.data_types import RuntimeParameter

from components.run_parameters import compiled_parameters
from pipeline.config import RunConfig
from pipeline.pipeline import create_pipeline
from schema.loading import load_spec
from schema.spec import Drift, RankingSpec
from schema.stages import STAGES
from schema.statistics import Statistics
from schema.tuning import Tuning

SHORTVIDEO = load_spec(Path(__file__).parents[2] / "schema" / "specs" / "shortvideo.yaml").model_copy(
    update={"tuning": Tuning(learning_rate=(0.01, 0.001)), "drift": Drift(limits={"country": 0.1})}
)


def properties(spec: RankingSpec) -> dict[str, dict[str, Any]]:
    config = RunConfig(logs="logs", output="output", fingerprint="")
    return {node.id: dict(node.exec_properties) for node in create_pipeline(spec, config).components}


@pytest.fixture(scope="module")
def shortvideo() -> dict[str, dict[str, Any]]:
    return properties(SHORTVIDEO)


def _plain(node: dict[str, Any]) -> str:
    return node["spec"]


def _configured(node: dict[str, Any]) -> str:
    return json.loads(node["custom_config"])["spec"]


@pytest.mark.parametrize(
    ("node", "stage", "spec_of"),
    [
        ("InteractionExampleGen", "ingest", _plain),
        ("Transform", "transform", _configured),
        ("Tuner", "training", _configured),
        ("Trainer", "training", _configured),
        ("SeesawEvaluator", "evaluation", _plain),
        ("ServingValidator", "serving", _plain),
    ],
)
def test_a_node_is_given_its_stages_part(shortvideo, node: str, stage: str, spec_of: Callable[[dict[str, Any]], str]):
    assert spec_of(shortvideo[node]) == STAGES[stage](SHORTVIDEO).to_json()


def test_a_change_of_drift_changes_the_nodes_that_judge_it_alone(shortvideo):
    drift = Drift(action="warn", limits={"country": 0.2})
    changed = properties(SHORTVIDEO.model_copy(update={"drift": drift}))
    assert {name for name in shortvideo if shortvideo[name] != changed[name]} == {"DistributionValidator", "DriftCheck"}


def test_the_report_takes_examples_and_their_spec_only_to_tell_of_statistics():
    def report_of(spec: RankingSpec) -> Any:
        config = RunConfig(logs="logs", output="output", fingerprint="")
        return next(node for node in create_pipeline(spec, config).components if node.id == "EvaluationReport")

    plain = report_of(SHORTVIDEO.model_copy(update={"statistics": None, "slices": ()}))
    assert "examples" not in plain.inputs
    assert plain.exec_properties.get("spec") is None
    declared = SHORTVIDEO.model_copy(update={"statistics": Statistics(by=({"keys": "item"},))})
    with_statistics = report_of(declared)
    assert "examples" in with_statistics.inputs
    assert with_statistics.exec_properties["spec"] == STAGES["evaluation"](declared).to_json()


def test_a_reference_is_one_more_node_and_changes_no_other(shortvideo):
    training = SHORTVIDEO.training.model_copy(update={"reference": True})
    changed = properties(SHORTVIDEO.model_copy(update={"training": training}))
    assert set(changed) - set(shortvideo) == {"ReferenceTrainer"}
    assert all(changed[name] == shortvideo[name] for name in shortvideo)


def test_a_run_of_a_compiled_pipeline_may_choose_auto_only_where_the_reference_is_in_it():
    def routings_of(routing: str) -> list[str]:
        spec = SHORTVIDEO.with_training(routing=routing)
        parameters = {
            parameter.name: RuntimeParameter(parameter.name, parameter.type) for parameter in compiled_parameters()
        }
        config = RunConfig(
            logs="logs", window=parameters["window"], output="output", fingerprint="", parameters=parameters
        )
        preflight = next(node for node in create_pipeline(spec, config).components if node.id == "Preflight")
        return preflight.exec_properties["routings"].split(",")

    assert "auto" not in routings_of("ple")
    assert {"auto", "ple"} <= set(routings_of("auto"))


def test_what_tasks_choose_from_is_trained_before_they_choose():
    def inputs_of(routing: str, **settings: Any) -> dict[str, list[str]]:
        spec = SHORTVIDEO.with_training(routing=routing, **settings)
        nodes = create_pipeline(spec, RunConfig(logs="logs", output="output", fingerprint="")).components
        return {node.id: [upstream.id for upstream in node.upstream_nodes] for node in nodes}

    auto = inputs_of("auto")
    assert "ReferenceTrainer" in auto["Trainer"]
    assert "ReferenceTrainer" in auto["SeesawEvaluator"]
    assert list(auto).index("ReferenceTrainer") < list(auto).index("Trainer")
    # Another routing's gain is only measured against it.
    ple = inputs_of("ple", reference=True)
    assert "ReferenceTrainer" not in ple["Trainer"]
    assert "ReferenceTrainer" in ple["SeesawEvaluator"]


def test_one_task_has_nothing_to_choose():
    single = SHORTVIDEO.model_copy(update={"tasks": SHORTVIDEO.tasks[:1]}).with_training(routing="auto")
    nodes = create_pipeline(single, RunConfig(logs="logs", output="output", fingerprint="")).components
    assert "ReferenceTrainer" not in [node.id for node in nodes]
