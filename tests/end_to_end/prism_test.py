"""Ingest and evaluation as a cluster runs them, job server and workers apart, against the run in memory.

Job service, staging, Fn API and pickling are those of Flink, Spark and Dataflow. Only workers outside of the launcher's
process show what of a job doesn't travel.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import prism
import pytest
import tensorflow as tf
from evaluations import metrics
from executions import execute_again
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from whole_runs import WINDOW, Run

from ingest.findings import read_summary
from pipeline.runners.beam import beam_arguments
from report.summary import load_summary

pytestmark = [pytest.mark.timeout(1_800), pytest.mark.skipif(not prism.is_there(), reason=prism.MISSING)]


@contextmanager
def workers_apart(folder: Path, boot: bool) -> Iterator[BaseBeamExecutor.Context]:
    """Yields what an executor runs in whose Beam has its job server and its workers in processes of their own."""
    with prism.running(folder, boot) as cluster:
        arguments = list(beam_arguments("portable", cluster))
        yield BaseBeamExecutor.Context(beam_pipeline_args=arguments, tmp_dir=str(folder / "tmp"), unique_id="1")


def examples_in(folder: str | Path) -> dict[str, list[str]]:
    """Returns the examples by split in a fixed order, as text: the order of a map's entries in bytes is free."""
    examples = {}
    for split in sorted(Path(folder).iterdir()):
        files = [str(file) for file in sorted(split.iterdir())]
        records = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
        examples[split.name] = sorted(str(tf.train.Example.FromString(record)) for record in records)
    return examples


def test_ingest_makes_the_same_examples_with_workers_that_are_started_as_in_a_container(run: Run, tmp_path):
    with workers_apart(tmp_path, boot=True) as context:
        outputs = execute_again(run, "InteractionExampleGen", tmp_path, context, WINDOW)
    places = load_summary(run.output).places
    in_memory = examples_in(places["examples"])
    assert all(in_memory.values())
    assert examples_in(outputs["examples"].uri) == in_memory
    assert read_summary(outputs["quarantine"].uri) == read_summary(places["quarantine"])


def test_the_evaluation_is_the_same(run: Run, tmp_path):
    with workers_apart(tmp_path, boot=False) as context:
        outputs = execute_again(run, "SeesawEvaluator", tmp_path, context)
    in_memory = metrics(load_summary(run.output).places["evaluation"])
    assert metrics(outputs["evaluation"].uri) == pytest.approx(in_memory, abs=1e-12)
