"""The jobs that a run's components submit, in Java's fuser, by which Flink and Spark plan them."""

from pathlib import Path

import apache_beam as beam
import java_fuser
import pytest
from executions import execute_again
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from whole_runs import Run

from pipeline.runners.beam import IN_MEMORY

pytestmark = [
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(not java_fuser.is_there(), reason=java_fuser.MISSING),
]


class Submitted(Exception):  # noqa: N818 (it ends the component, and is no error)
    """A component submitted a job, which is not run."""


class Submitting(beam.Pipeline):
    """A pipeline that ends its component with the job that it would run."""

    def run(self, test_runner_api: bool | str = "AUTO") -> None:
        raise Submitted(self.to_runner_api())


@pytest.fixture(scope="module")
def jobs(run: Run, tmp_path_factory) -> dict[str, object]:
    """The job of each component on Beam but ingest, by its name; none of them submits a second one.

    Transform's is of days that it has analysed, of days that are all new, and of logs without days.
    """
    new_days = str(tmp_path_factory.mktemp("state"))
    components = {
        "StatisticsGen": ("StatisticsGen", None),
        "Transform-known-days": ("Transform", None),
        "Transform-new-days": ("Transform", new_days),
        "Transform": ("Transform", ""),
        "SeesawEvaluator": ("SeesawEvaluator", None),
    }
    caught = {}
    for name, (component, state) in components.items():
        folder: Path = tmp_path_factory.mktemp(name)
        context = BaseBeamExecutor.Context(
            make_beam_pipeline_fn=lambda: Submitting(argv=[IN_MEMORY]), tmp_dir=str(folder / "tmp"), unique_id="1"
        )
        with pytest.raises(Submitted) as submitted:
            execute_again(run, component, folder, context, state=state)
        (caught[name],) = submitted.value.args
    return caught


def test_javas_fuser_takes_statistics_transform_and_evaluation(jobs, tmp_path):
    assert java_fuser.planned(jobs, tmp_path) == dict.fromkeys(jobs, "ok")


def test_transforms_jobs_analyse_what_is_new(jobs):
    steps = {name: [step.unique_name for step in job.components.transforms.values()] for name, job in jobs.items()}
    decoding, counting = (
        {name: any(part in step for step in steps[name]) for name in steps if name.startswith("Transform")}
        for part in ("DecodeCache", "CountInBatch")
    )
    assert decoding == {"Transform-known-days": True, "Transform-new-days": False, "Transform": False}
    assert counting == {"Transform-known-days": False, "Transform-new-days": True, "Transform": True}
