"""Flink and Spark plan Beam jobs by Java's fuser, which takes fewer graphs than Python's runners: it must take ours."""

from datetime import date
from pathlib import Path
from typing import Any

import apache_beam as beam
import java_fuser
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

import schema
from ingest.graph import ingest
from ingest.sources import match_files
from ingest.windows.rolling import plan
from ingest.windows.window import Window
from schema.loading import load_spec
from schema.spec import RankingSpec
from schema.statistics import Statistics

SPECS = Path(schema.__file__).parent / "specs"

pytestmark = pytest.mark.skipif(not java_fuser.is_there(), reason=java_fuser.MISSING)


def of_files(spec: RankingSpec) -> RankingSpec:
    """Returns the spec for logs of a file a source."""
    sources = {name: getattr(spec, name) for name in ("log", "users", "items")}
    return spec.model_copy(
        update={
            name: source.model_copy(update={"files": (f"{name}.csv",)}) for name, source in sources.items() if source
        }
    )


def job_of(spec, files, directory: Path, rolling=None) -> Any:
    """Returns the job that ingest submits."""
    job = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))
    ingest(job, spec, files, str(directory / "examples"), str(directory / "quarantine"), rolling=rolling)
    return job.to_runner_api()


def test_javas_fuser_takes_ingest_in_both_layouts_with_and_without_statistics_and_windows(tmp_path):
    # A graph depends on the spec and on the files' names alone.
    undated, daily = tmp_path / "whole", tmp_path / "daily"
    for folder in (undated, daily / "2026-01-02"):
        folder.mkdir(parents=True)
        for name in ("log", "users", "items"):
            (folder / f"{name}.csv").write_text("column\n1\n")
    by_item = Statistics.model_validate({"by": ["item", {"keys": "user", "granularity": "1m"}]})
    window = Window(date(2026, 1, 2), date(2026, 1, 2))
    jobs = {}
    for spec in (load_spec(SPECS / f"{name}.yaml") for name in ("shortvideo", "deskdrop")):
        for name, statistics in (("plain", None), ("statistics", by_item)):
            changed = of_files(spec.model_copy(update={"statistics": statistics, "slices": ()}))
            files = match_files(changed, str(undated))
            jobs[f"{spec.log.layout}-{name}"] = job_of(changed, files, tmp_path)
            rolling, files = plan(changed, str(daily), str(tmp_path / "state"), window)
            jobs[f"{spec.log.layout}-{name}-window"] = job_of(changed, files, tmp_path, rolling)
            if spec.log.layout == "events":
                continue
            once = changed.model_copy(update={"log": changed.log.model_copy(update={"duplicates": "drop"})})
            jobs[f"duplicates-{name}"] = job_of(once, match_files(once, str(undated)), tmp_path)
            rolling, files = plan(once, str(daily), str(tmp_path / "state"), window)
            jobs[f"duplicates-{name}-window"] = job_of(once, files, tmp_path, rolling)
    assert len(jobs) == 12
    assert java_fuser.planned(jobs, tmp_path) == dict.fromkeys(jobs, "ok")


def test_the_fuser_says_what_it_does_not_take(tmp_path):
    job = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))
    (job | beam.Create([1]) | "Lost" >> beam.Map(abs) | "Reads" >> beam.Map(abs)) | beam.GroupBy(abs)
    graph = job.to_runner_api()
    transforms = graph.components.transforms
    (lost,) = (name for name, transform in transforms.items() if transform.unique_name == "Lost")
    del transforms[lost]
    for transform in transforms.values():
        if lost in transform.subtransforms:
            transform.subtransforms.remove(lost)
    graph.root_transform_ids[:] = [name for name in graph.root_transform_ids if name != lost]
    (said,) = java_fuser.planned({"job": graph}, tmp_path).values()
    assert said != "ok"
