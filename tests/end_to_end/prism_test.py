"""A run as a cluster runs its Beam jobs, job server and workers apart, against the run in memory.

Job service, staging, Fn API and pickling are those of Flink, Spark and Dataflow. Only workers outside of the launcher's
process show what of a job doesn't travel.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import prism
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
import yaml
from evaluations import metrics
from executions import execute_again, inputs_of
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from whole_runs import WINDOW, Run, fulcrum, stages

from ingest.findings import read_summary
from pipeline.runners.beam import beam_arguments
from report.summary import load_summary

pytestmark = [pytest.mark.timeout(1_800), pytest.mark.skipif(not prism.is_there(), reason=prism.MISSING)]


@pytest.fixture(scope="module")
def run_apart(run: Run, tmp_path_factory) -> Run:
    """The shared run once more, but for its training, with Beam's job server and workers in processes of their own.

    The workers are started by Beam's `boot`, as in a container.
    """
    folder = tmp_path_factory.mktemp("prism")
    declared = yaml.safe_load(run.spec.read_text())
    spec = folder / "spec.yaml"
    spec.write_text(yaml.safe_dump({**declared, "training": {"epochs": 1, "batch_size": 256, "reference": False}}))
    with prism.running(folder, boot=True) as cluster:
        addresses = ("--job-endpoint", cluster.job_endpoint, "--worker-pool", cluster.worker_pool)
        finished = fulcrum(
            *("run", spec, "--logs", run.logs, "--window", WINDOW, "--output", folder / "output"),
            *("--routing", "shared_bottom", "--runner", "portable", *addresses),
        )
    assert finished.code == 0, finished.out + finished.err
    return Run(spec, run.logs, folder / "output", finished)


def read_examples(folder: str | Path) -> Iterator[tuple[str, Iterator[tf.train.Example]]]:
    """Yields each split's name and its examples, in no fixed order."""
    for split in sorted(Path(folder).iterdir()):
        files = [str(file) for file in sorted(split.iterdir())]
        records = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
        yield split.name, map(tf.train.Example.FromString, records)


def examples_in(folder: str | Path) -> dict[str, list[str]]:
    """Returns the examples by split in a fixed order, as text: the order of a map's entries in bytes is free."""
    return {split: sorted(map(str, examples)) for split, examples in read_examples(folder)}


def test_the_whole_pipeline_runs_with_every_component(run: Run, run_apart: Run):
    assert stages(run_apart.finished.out) == dict.fromkeys(stages(run.finished.out), False)
    evaluated, in_memory = (metrics(load_summary(of.output).places["evaluation"]) for of in (run_apart, run))
    assert evaluated.keys() == in_memory.keys()


def test_ingest_makes_the_same_examples(run: Run, run_apart: Run):
    places, places_apart = (load_summary(of.output).places for of in (run, run_apart))
    in_memory = examples_in(places["examples"])
    assert all(in_memory.values())
    assert examples_in(places_apart["examples"]) == in_memory
    assert read_summary(places_apart["quarantine"]) == read_summary(places["quarantine"])


def features_in(folder: str) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], list[float]]]:
    """Returns what StatisticsGen wrote of each split's features: as text, and the moments, which are sums of floats.

    Its quantiles are left out: they are approximate by design.
    """
    texts, moments = {}, {}
    for split in sorted(Path(folder).glob("Split-*")):
        (dataset,) = tfdv.load_stats_binary(str(split / "FeatureStats.pb")).datasets
        for feature in dataset.features:
            key = split.name, "/".join(feature.path.step)
            stats_field = feature.WhichOneof("stats")
            if stats_field == "num_stats":
                moments[key] = [feature.num_stats.mean, feature.num_stats.std_dev]
                for field in ("histograms", "median", "mean", "std_dev"):
                    feature.num_stats.ClearField(field)
            getattr(feature, stats_field).common_stats.ClearField("num_values_histogram")
            texts[key] = str(feature)
    return texts, moments


def test_the_statistics_are_the_same(run: Run, run_apart: Run):
    (in_memory,), (apart,) = (inputs_of(of, "ExampleValidator")["statistics"] for of in (run, run_apart))
    expected_texts, expected_moments = features_in(in_memory.uri)
    texts, moments = features_in(apart.uri)
    assert texts == expected_texts
    assert moments.keys() == expected_moments.keys()
    for key, expected in expected_moments.items():
        assert moments[key] == pytest.approx(expected, rel=1e-9, abs=1e-12), key


def transformed_in(folder: str) -> dict[str, tuple[list[tuple], np.ndarray]]:
    """Returns by split each example's ids, sorted, and its numbers in the same order."""
    transformed = {}
    for split, examples in read_examples(folder):
        rows = []
        for example in examples:
            features = sorted(example.features.feature.items())
            ids = tuple((name, tuple(values.int64_list.value)) for name, values in features)
            rows.append((ids, [number for _, values in features for number in values.float_list.value]))
        rows.sort()
        transformed[split] = [ids for ids, _ in rows], np.array([numbers for _, row in rows for numbers in row])
    return transformed


def test_transform_makes_the_same_vocabularies_and_numbers(run: Run, run_apart: Run):
    (in_memory,), (apart,) = (inputs_of(of, "Trainer")["examples"] for of in (run, run_apart))
    expected, transformed = transformed_in(in_memory.uri), transformed_in(apart.uri)
    assert transformed.keys() == expected.keys()
    for split, (ids, numbers) in expected.items():
        assert transformed[split][0] == ids
        np.testing.assert_allclose(transformed[split][1], numbers, rtol=1e-5, atol=1e-6)


def test_the_evaluation_of_the_same_model_is_the_same(run: Run, tmp_path):
    with prism.running(tmp_path, boot=True) as cluster:
        arguments = list(beam_arguments("portable", cluster))
        context = BaseBeamExecutor.Context(beam_pipeline_args=arguments, tmp_dir=str(tmp_path / "tmp"), unique_id="1")
        outputs = execute_again(run, "SeesawEvaluator", tmp_path, context)
    in_memory = metrics(load_summary(run.output).places["evaluation"])
    assert metrics(outputs["evaluation"].uri) == pytest.approx(in_memory, abs=1e-12)
