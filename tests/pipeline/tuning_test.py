"""Where the Tuner stands in the pipeline."""

from pathlib import Path

import pytest
import yaml
from tfx.utils import json_utils

from pipeline.cli.compile_arguments import prepare as prepare_compilation
from pipeline.cli.run_arguments import UsageError, prepare
from pipeline.config import RunConfig
from pipeline.pipeline import create_pipeline
from pipeline.runners.kubeflow import compile_pipeline
from schema.loading import load_spec
from schema.spec import RankingSpec
from schema.tuning import Tuning

SPEC = Path(__file__).parents[2] / "schema" / "specs" / "shortvideo.yaml"
TUNING = Tuning(routing=("ple", "mmoe"), learning_rate=(0.01, 0.001))


def nodes(spec: RankingSpec) -> dict[str, object]:
    config = RunConfig(logs="logs", output="output", fingerprint="")
    return {node.id: node for node in create_pipeline(spec, config).components}


def shortvideo(**changed) -> RankingSpec:
    spec = load_spec(SPEC)
    training = spec.training.model_copy(update={"reference": True})
    return spec.model_copy(update={"training": training, **changed})


def test_both_trainers_take_what_the_tuner_chose_and_the_reference_stays_single_task():
    nodes_by_id = nodes(shortvideo(tuning=TUNING))
    chosen = nodes_by_id["Tuner"].outputs["best_hyperparameters"]
    for name in ("Trainer", "ReferenceTrainer"):
        assert nodes_by_id[name].inputs["hyperparameters"] == chosen
    reference = RankingSpec.from_json(
        json_utils.loads(nodes_by_id["ReferenceTrainer"].exec_properties["custom_config"])["spec"]
    )
    trained = reference.tuned({"routing": "mmoe", "learning_rate": 0.01})
    assert (trained.model.routing, trained.training.learning_rate) == ("single_task", 0.01)


def test_a_spec_that_tunes_nothing_has_no_tuner():
    nodes_by_id = nodes(shortvideo())
    assert "Tuner" not in nodes_by_id
    assert "hyperparameters" not in nodes_by_id["Trainer"].inputs


def test_a_compiled_pipeline_gives_the_tuner_what_a_trainer_gets():
    prepared = prepare_compilation(SPEC, "registry.example.com/fulcrum:1.0", "gs://bucket/runs")
    compiled = yaml.safe_load(compile_pipeline(**vars(prepared) | {"spec": shortvideo(tuning=TUNING)}))
    executors = compiled["deploymentSpec"]["executors"]
    resources = executors["Trainer_executor"]["container"]["resources"]
    assert executors["Tuner_executor"]["container"]["resources"] == resources
    taken = compiled["root"]["dag"]["tasks"]["Trainer"]["inputs"]["artifacts"]["hyperparameters"]
    assert taken["taskOutputArtifact"]["producerTask"] == "Tuner"


def test_a_warm_start_of_settings_that_change_is_refused(tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.read_text() + "\ntuning: {learning_rate: [0.01]}\n")
    with pytest.raises(UsageError, match="--warm-start: got a spec with `tuning`"):
        prepare(spec, str(tmp_path), tmp_path / "output", warm_start=True)


def test_a_candidate_that_is_no_routing_is_refused_before_anything_runs(tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.read_text() + "\ntuning: {routing: [ple, plle]}\n")
    with pytest.raises(UsageError, match=r"tuning.routing\[1\]: unknown routing 'plle'"):
        prepare(spec, str(tmp_path), tmp_path / "output")
