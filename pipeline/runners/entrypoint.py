"""Runs a component in a container of a compiled pipeline: TFX's own entry point, given what Kubeflow leaves out.

`python -m pipeline.kubeflow_entrypoint` takes the arguments of TFX's `kubeflow_v2_run_executor`, `--local_artifacts`
and `--constants_of`. Open-source Kubeflow differs from what TFX expects of it:

- Its artifacts come without the type that TFX gave them. The component's inputs, which are compiled into the arguments,
  have it.
- An input is one artifact always. One that says of itself that it holds no model is left out, as LocalDagRunner does.
- It may ask for an output that no component of TFX has, the container's log; Kubeflow's launcher writes that itself.
- The arguments of Beam are a parameter of the run and not compiled in.
- The long texts of all tasks are packed in one parameter (`pipeline.runners.constants`); `--constants_of TASK` says
  whose to take. Pipelines that earlier versions compiled have theirs in each task.
- Stores other than Google's (MinIO, S3) are not for TensorFlow to read. Kubeflow's launcher copies what a component
  reads to a folder of the container, and from one what it writes; with `--local_artifacts` TFX uses these folders.
"""

import argparse
import json
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfx.orchestration.kubeflow.v2 import compiler_utils
from tfx.utils import name_utils

from components.artifacts import NO_MODEL, Quarantine, Report
from pipeline.runners.beam import is_distributed, pack_for_distributed_runners_only, send_inputs_whole
from pipeline.runners.constants import CONSTANTS_OF, restore_constants
from pipeline.runners.garbage import collect_rarely

# Where the executors are now that a pipeline compiled by an earlier version names.
MOVED_EXECUTORS = {
    "components.anomaly_gate.component.AnomalyGate_Executor": "components.anomaly_check.AnomalyCheck_Executor",
    "components.anomaly_gate.drift.DriftGate_Executor": "components.drift_check.DriftCheck_Executor",
    "components.distribution_validator.component.Executor": "components.distribution_validator.Executor",
    "components.evaluation_report.executor.Executor": "components.evaluation_report.EvaluationReport_Executor",
    "components.pusher.component.Executor": "components.pusher.Executor",
    "components.schema_source.component.SchemaSource_Executor": "components.schema_source.SchemaSource_Executor",
    "components.trainer.component.Executor": "components.trainer.Executor",
}
# Our own types of artifacts. TFX would take the title under which one is compiled for the path to import it by.
ARTIFACT_TYPES = {artifact.TYPE_NAME: name_utils.get_full_name(artifact) for artifact in (Quarantine, Report)}
# The parameter that components on Beam have beside those that TFX knows of.
BEAM_ARGS = "beam_args"
LOCAL_ARTIFACTS = "--local_artifacts"

_TFX_ENTRYPOINT = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
_EXECUTOR_CLASS = "--executor_class_path"
_INVOCATION, _INPUTS_SPEC = "--json_serialized_invocation_args", "--json_serialized_inputs_spec_args"
# As LocalDagRunner has it here: examples are batched by their bytes and not by how long earlier batches took, so that
# runs repeat to the last bit.
_REPEATABLE = "--tfxio_use_byte_size_batching"
# `LocalPathForURI` in Kubeflow Pipelines' backend/src/v2/component/launcher_v2.go.
_LAUNCHER_FOLDERS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}

Json = dict[str, Any]


class UnreachableError(ValueError):
    """Workers elsewhere would have to reach files that are in this container alone."""


def main(argv: list[str]) -> None:
    """Runs the executor that the arguments name, in this process."""
    collect_rarely()
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument(_EXECUTOR_CLASS, dest="executor", required=True)
    parser.add_argument(_INVOCATION, dest="invocation", type=json.loads, required=True)
    parser.add_argument(_INPUTS_SPEC, dest="inputs_spec", type=json.loads, required=True)
    parser.add_argument(LOCAL_ARTIFACTS, action="store_true")
    parser.add_argument(CONSTANTS_OF, dest="task")
    arguments, rest = parser.parse_known_args(argv)
    invocation, inputs_spec = arguments.invocation, arguments.inputs_spec
    executor = MOVED_EXECUTORS.get(arguments.executor, arguments.executor)

    if arguments.task:
        restore_constants(invocation, arguments.task)
    beam_args = take_beam_args(invocation, inputs_spec)
    add_types(invocation, inputs_spec)
    leave_out_no_models(invocation)
    leave_out_foreign_outputs(invocation)
    uris = use_launcher_folders(invocation, is_distributed(beam_args)) if arguments.local_artifacts else {}
    compiler_utils.TITLE_TO_CLASS_PATH.update(ARTIFACT_TYPES)
    pack_for_distributed_runners_only()
    send_inputs_whole()
    sys.argv = [_TFX_ENTRYPOINT, _EXECUTOR_CLASS, executor]
    sys.argv += [_INVOCATION, json.dumps(invocation), _INPUTS_SPEC, json.dumps(inputs_spec)]
    sys.argv += [*rest, _REPEATABLE, *beam_args]
    try:
        runpy.run_module(_TFX_ENTRYPOINT, run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise
    restore_uris(Path(invocation["outputs"]["outputFile"]), uris)


def take_beam_args(invocation: Json, inputs_spec: Json) -> list[str]:
    """Returns Beam's arguments; takes the parameter out where the component doesn't know it as its own property."""
    values = invocation.get("inputs", {}).get("parameterValues", {})
    if BEAM_ARGS in inputs_spec.get("parameters", {}):
        return []
    return shlex.split(values.pop(BEAM_ARGS, ""))


def add_types(invocation: Json, inputs_spec: Json) -> None:
    """Gives every input artifact the type that the component declares."""
    declared = inputs_spec.get("artifacts", {})
    for name, artifact in _artifacts(invocation, "inputs"):
        artifact["type"] = declared[name]["artifactType"]


def leave_out_no_models(invocation: Json) -> None:
    """Takes out the inputs that say of themselves that they hold no model."""
    inputs = invocation.get("inputs", {}).get("artifacts", {})
    for name, artifact in list(_artifacts(invocation, "inputs")):
        if artifact.get("metadata", {}).get(NO_MODEL):
            del inputs[name]


def leave_out_foreign_outputs(invocation: Json) -> None:
    """Takes out Kubeflow's own outputs: they have only a title, and TFX's the schema of their type."""
    outputs = invocation["outputs"].get("artifacts", {})
    for name, artifact in list(_artifacts(invocation, "outputs")):
        if "instanceSchema" not in artifact.get("type", {}):
            del outputs[name]


def use_launcher_folders(invocation: Json, distributed: bool) -> dict[str, str]:
    """Puts the folders of this container in place of the URIs, and returns the URI of each.

    Args:
      distributed: other machines read and write the artifacts too; then only Google's store will do, and its URIs stay.

    Raises:
      UnreachableError: `distributed`, and the artifacts are in another store.
    """
    uris = {}
    for where in ("inputs", "outputs"):
        for _, artifact in _artifacts(invocation, where):
            uri = artifact["uri"]
            scheme = next((scheme for scheme in _LAUNCHER_FOLDERS if uri.startswith(scheme)), None)
            if scheme is None or (scheme == "gs://" and distributed):
                continue
            if distributed:
                raise UnreachableError(
                    f"{BEAM_ARGS}: workers on other machines can't reach {uri}, which is copied into this container "
                    "alone: expected a pipeline root of gs:// or the in-memory runner"
                )
            artifact["uri"] = _LAUNCHER_FOLDERS[scheme] + uri.removeprefix(scheme)
            uris[artifact["uri"]] = uri
    return uris


def restore_uris(output_file: Path, uris: dict[str, str]) -> None:
    """Names the artifacts by their URIs again in the file by which Kubeflow learns of the outputs."""
    if not uris:
        return
    output = json.loads(output_file.read_text())
    for artifacts in output.get("artifacts", {}).values():
        for artifact in artifacts.get("artifacts", []):
            artifact["uri"] = uris.get(artifact.get("uri", ""), artifact.get("uri", ""))
    output_file.write_text(json.dumps(output))


def _artifacts(invocation: Json, where: str) -> Iterator[tuple[str, Json]]:
    for name, artifacts in invocation.get(where, {}).get("artifacts", {}).items():
        for artifact in artifacts.get("artifacts", []):
            yield name, artifact
