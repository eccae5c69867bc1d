"""The evaluation with Beam in worker processes, where every function must travel, against the run in memory."""

from pathlib import Path

import ml_metadata as mlmd
import pytest
from evaluations import metrics
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.orchestration import metadata
from tfx.types import artifact_utils
from whole_runs import Run

from pipeline.config import RunConfig
from pipeline.pipeline import create_pipeline
from report.summary import load_summary
from schema.loading import load_spec

WORKERS = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]


def inputs_of(output: Path, made: str) -> dict[str, list]:
    """What the component read that wrote the artifact at the URI `made`."""
    store = mlmd.MetadataStore(metadata.sqlite_metadata_connection_config(str(output / "metadata.sqlite")))
    (artifact,) = store.get_artifacts_by_uri(made)
    (event,) = [one for one in store.get_events_by_artifact_ids([artifact.id]) if one.type == pb.Event.OUTPUT]
    read = {}
    for one in store.get_events_by_execution_ids([event.execution_id]):
        if one.type == pb.Event.INPUT:
            (found,) = store.get_artifacts_by_id([one.artifact_id])
            (kind,) = store.get_artifact_types_by_id([found.type_id])
            read[one.path.steps[0].key] = [artifact_utils.deserialize_artifact(kind, found)]
    return read


def test_the_evaluation_is_the_same_in_worker_processes(run: Run, tmp_path):
    in_memory = load_summary(run.output).places["evaluation"]
    config = RunConfig(logs=str(run.logs), output=str(run.output), fingerprint="")
    nodes = create_pipeline(load_spec(run.spec), config).components
    (evaluator,) = [node for node in nodes if "evaluation" in node.outputs]
    outputs = {}
    for name, channel in evaluator.outputs.items():
        outputs[name] = [channel.type()]
        outputs[name][0].uri = str(tmp_path / name)
    context = BaseBeamExecutor.Context(beam_pipeline_args=WORKERS, tmp_dir=str(tmp_path / "tmp"), unique_id="1")
    evaluator.executor_spec.executor_class(context).Do(
        inputs_of(run.output, in_memory), outputs, evaluator.exec_properties
    )
    found = metrics(in_memory)
    assert {slice_key for slice_key, _, _ in found} >= {(), (("country", "US"),)}
    assert metrics(outputs["evaluation"][0].uri) == pytest.approx(found, abs=1e-6)
