"""What the entry point makes of what Kubeflow hands to a container."""

import copy
import json

import pytest

from pipeline.runners.entrypoint import (
    UnreachableError,
    add_types,
    leave_out_foreign_outputs,
    leave_out_no_models,
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
    told = {
        "artifacts": {"blessing": {"artifacts": [{"uri": "/s3/bucket/run/blessing", "metadata": {"blessed": 1.0}}]}}
    }
    output.write_text(json.dumps(told))
    restore_uris(output, {"/s3/bucket/run/blessing": "s3://bucket/run/blessing"})
    (artifact,) = json.loads(output.read_text())["artifacts"]["blessing"]["artifacts"]
    assert artifact == {"uri": "s3://bucket/run/blessing", "metadata": {"blessed": 1.0}}
