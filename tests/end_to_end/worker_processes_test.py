"""The evaluation with Beam in worker processes, where every function must travel, against the run in memory."""

import pytest
from evaluations import metrics
from executions import execute_again
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from whole_runs import Run

from pipeline.runners.beam import Cluster, beam_arguments
from report.summary import load_summary


def test_the_evaluation_is_the_same_in_worker_processes(run: Run, tmp_path):
    in_memory = metrics(load_summary(run.output).places["evaluation"])
    workers = list(beam_arguments("local", Cluster(parallelism=2)))
    context = BaseBeamExecutor.Context(beam_pipeline_args=workers, tmp_dir=str(tmp_path / "tmp"), unique_id="1")
    outputs = execute_again(run, "SeesawEvaluator", tmp_path, context)
    assert {slice_key for slice_key, _, _ in in_memory} >= {(), (("country", "US"),)}
    assert metrics(outputs["evaluation"].uri) == pytest.approx(in_memory, abs=1e-6)
