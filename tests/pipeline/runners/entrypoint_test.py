"""What the entry point makes of what Kubeflow hands to a container."""

import copy
import json

import pytest
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.utils import import_utils

from pipeline.runners.constants import CONSTANTS, pack, restore_constants, unpack
from pipeline.runners.entrypoint import (
    MOVED_EXECUTORS,
    UnreachableError,
    add_types,
    leave_out_foreign_outputs,
    leave_out_no_models,
    main,
    restore_uris,
    take_beam_args,
    use_launcher_folders,
)

INPUTS_SPEC = {
    "artifacts": {
        "examples": {"artifactType": {"instanceSchema": "title: tfx.Examples\n"}},
        "baseline_model": {"artifactType": {"instanceSchema": "title: tfx.Model\n"}},
    },
    "parameters": {"split": {"parameterType": "STRING"}},
}


@pytest.fixture
def invocation() -> dict:
    """An evaluation, as open-source Kubeflow asks for it."""
    return copy.deepcopy(
        {
            "inputs": {
                "parameterValues": {"split": "test", "beam_args": "--runner=FnApiRunner --direct_num_workers=2"},
                "artifacts": {
                    "examples": {"artifacts": [{"name": "7", "uri": "minio://bucket/run/examples"}]},
                    "baseline_model": {
                        "artifacts": [{"name": "8", "uri": "gs://bucket/run/none", "metadata": {"no_model": 1.0}}]
                    },
                },
            },
            "outputs": {
                "artifacts": {
                    "blessing": {
                        "artifacts": [
                            {
                                "uri": "s3://bucket/run/blessing",
                                "type": {"instanceSchema": "title: tfx.ModelBlessing\n"},
                            }
                        ]
                    },
                },
                "outputFile": "/tmp/kfp/output.json",
            },
        }
    )


def test_beams_arguments_are_taken_from_the_parameters(invocation):
    assert take_beam_args(invocation, INPUTS_SPEC) == ["--runner=FnApiRunner", "--direct_num_workers=2"]
    assert invocation["inputs"]["parameterValues"] == {"split": "test"}


def test_a_property_of_that_name_stays_with_its_component(invocation):
    declared = {"parameters": {"beam_args": {"parameterType": "STRING"}}}
    assert take_beam_args(invocation, declared) == []
    assert "beam_args" in invocation["inputs"]["parameterValues"]


def test_inputs_get_the_type_that_the_component_declares(invocation):
    add_types(invocation, INPUTS_SPEC)
    (examples,) = invocation["inputs"]["artifacts"]["examples"]["artifacts"]
    assert examples["type"] == {"instanceSchema": "title: tfx.Examples\n"}


def test_an_artifact_without_a_model_is_no_input(invocation):
    leave_out_no_models(invocation)
    assert list(invocation["inputs"]["artifacts"]) == ["examples"]


def test_an_output_for_the_containers_log_is_none_of_tfxs(invocation):
    log = {"uri": "s3://bucket/run/executor-logs", "type": {"schemaTitle": "system.Artifact"}}
    invocation["outputs"]["artifacts"]["executor-logs"] = {"artifacts": [log]}
    leave_out_foreign_outputs(invocation)
    assert list(invocation["outputs"]["artifacts"]) == ["blessing"]


def test_artifacts_are_read_and_written_where_the_launcher_copies_them(invocation):
    uris = use_launcher_folders(invocation, distributed=False)
    assert uris == {
        "/minio/bucket/run/examples": "minio://bucket/run/examples",
        "/gcs/bucket/run/none": "gs://bucket/run/none",
        "/s3/bucket/run/blessing": "s3://bucket/run/blessing",
    }
    (examples,) = invocation["inputs"]["artifacts"]["examples"]["artifacts"]
    assert examples["uri"] == "/minio/bucket/run/examples"


def test_workers_on_other_machines_need_a_store_that_they_reach(invocation):
    with pytest.raises(UnreachableError, match="can't reach minio://bucket/run/examples"):
        use_launcher_folders(copy.deepcopy(invocation), distributed=True)
    for where, name in (("inputs", "examples"), ("outputs", "blessing")):
        invocation[where]["artifacts"][name]["artifacts"][0]["uri"] = "gs://bucket/run/other"
    before = copy.deepcopy(invocation)
    assert use_launcher_folders(invocation, distributed=True) == {}
    assert invocation == before


def test_kubeflow_is_told_of_uris_and_not_of_folders(tmp_path):
    output = tmp_path / "output.json"
    executor_output = {
        "artifacts": {"blessing": {"artifacts": [{"uri": "/s3/bucket/run/blessing", "metadata": {"blessed": 1.0}}]}}
    }
    output.write_text(json.dumps(executor_output))
    restore_uris(output, {"/s3/bucket/run/blessing": "s3://bucket/run/blessing"})
    (artifact,) = json.loads(output.read_text())["artifacts"]["blessing"]["artifacts"]
    assert artifact == {"uri": "s3://bucket/run/blessing", "metadata": {"blessed": 1.0}}


# All that a pipeline names which the version 27196fe compiled, with `drift`, `tuning` and the reference in its spec.
EXECUTORS_OF_27196FE = [
    "components.anomaly_gate.component.AnomalyGate_Executor",
    "components.anomaly_gate.drift.DriftGate_Executor",
    "components.distribution_validator.component.Executor",
    "components.evaluation_report.executor.Executor",
    "components.interaction_example_gen.executor.Executor",
    "components.preflight.executor.Executor",
    "components.pusher.component.Executor",
    "components.schema_source.component.SchemaSource_Executor",
    "components.seesaw_evaluator.executor.Executor",
    "components.serving_validator.executor.Executor",
    "components.trainer.component.Executor",
    "components.transform.executor.Executor",
    "tfx.components.example_validator.executor.Executor",
    "tfx.components.statistics_gen.executor.Executor",
    "tfx.components.tuner.executor.Executor",
]
FUNCTIONS_OF_27196FE = ["models.preprocessing.preprocessing_fn", "models.trainer.run_fn", "models.tuner.tuner_fn"]


@pytest.mark.parametrize("path", EXECUTORS_OF_27196FE)
def test_an_executor_of_a_pipeline_compiled_earlier_is_found(path):
    executor = import_utils.import_class_by_path(MOVED_EXECUTORS.get(path, path))
    assert issubclass(executor, BaseExecutor)


@pytest.mark.parametrize("path", FUNCTIONS_OF_27196FE)
def test_a_function_of_a_pipeline_compiled_earlier_is_found(path):
    assert callable(import_utils.import_func_from_module(*path.rsplit(".", 1)))


def test_a_tasks_texts_are_put_back_among_its_parameters():
    texts = {"SchemaSource": {"text": "feature {}"}, "Trainer": {"custom_config": "ö{{$}}\n", "spec": "x"}}
    packed = pack(texts)
    invocation = {"inputs": {"parameterValues": {"epochs": 3, CONSTANTS: packed}}}
    restore_constants(invocation, "Trainer")
    assert invocation["inputs"]["parameterValues"] == {"epochs": 3, **texts["Trainer"]}


@pytest.mark.parametrize("packed", ["", "not packed", pack({"Trainer": {"spec": "x"}}), "Pz8_Pz8_"])
def test_texts_that_are_not_those_that_were_compiled_are_refused(packed):
    with pytest.raises(ValueError, match=r"constants: expected the text .* with the constants of Pusher"):
        unpack(packed, "Pusher")


def test_what_is_moved_is_what_was_compiled():
    assert MOVED_EXECUTORS.keys() <= set(EXECUTORS_OF_27196FE)


PACKED = {CONSTANTS: pack({"SchemaSource": {"text": "feature {}"}})}


@pytest.mark.parametrize(
    ("values", "options"), [({"text": "feature {}"}, []), (PACKED, ["--constants_of", "SchemaSource"])]
)
def test_the_entry_point_runs_the_executor_where_it_is_now(tmp_path, values, options):
    """The whole command of a container that an earlier version compiled, with the text in the task and packed."""
    output = tmp_path / "output" / "executor_output.json"
    text = {"parameterValues": values}
    schema = {"uri": str(tmp_path / "schema"), "type": {"instanceSchema": "title: tfx.Schema\ntype: object\n"}}
    invocation = {
        "inputs": text,
        "outputs": {"artifacts": {"schema": {"artifacts": [schema]}}, "outputFile": str(output)},
    }
    main(
        [
            "--executor_class_path",
            "components.schema_source.component.SchemaSource_Executor",
            "--json_serialized_invocation_args",
            json.dumps(invocation),
            "--json_serialized_inputs_spec_args",
            json.dumps({"parameters": {"text": {"parameterType": "STRING"}}}),
            *options,
        ]
    )
    assert (tmp_path / "schema" / "schema.pbtxt").read_text() == "feature {}"
    assert json.loads(output.read_text())["artifacts"]["schema"]["artifacts"][0]["uri"] == str(tmp_path / "schema")
