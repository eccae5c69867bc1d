"""Every Beam job of a run as a cluster runs it, job server and workers apart, against the run in memory.

Job service, staging, Fn API and pickling are those of Flink, Spark and Dataflow. Only workers outside of the launcher's
process show what of a job doesn't travel.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import prism
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from evaluations import metrics
from executions import execute_again, inputs_of
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


def read_examples(folder: str | Path) -> Iterator[tuple[str, Iterator[tf.train.Example]]]:
    """Yields each split's name and its examples, in no fixed order."""
    for split in sorted(Path(folder).iterdir()):
        files = [str(file) for file in sorted(split.iterdir())]
        records = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
        yield split.name, map(tf.train.Example.FromString, records)


def examples_in(folder: str | Path) -> dict[str, list[str]]:
    """Returns the examples by split in a fixed order, as text: the order of a map's entries in bytes is free."""
    return {split: sorted(map(str, examples)) for split, examples in read_examples(folder)}


def test_ingest_makes_the_same_examples_with_workers_that_are_started_as_in_a_container(run: Run, tmp_path):
    with workers_apart(tmp_path, boot=True) as context:
        outputs = execute_again(run, "InteractionExampleGen", tmp_path, context, WINDOW)
    places = load_summary(run.output).places
    in_memory = examples_in(places["examples"])
    assert all(in_memory.values())
    assert examples_in(outputs["examples"].uri) == in_memory
    assert read_summary(outputs["quarantine"].uri) == read_summary(places["quarantine"])


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


def test_the_statistics_are_the_same(run: Run, tmp_path):
    with workers_apart(tmp_path, boot=False) as context:
        outputs = execute_again(run, "StatisticsGen", tmp_path, context)
    (in_memory,) = inputs_of(run, "ExampleValidator")["statistics"]
    expected_texts, expected_moments = features_in(in_memory.uri)
    texts, moments = features_in(outputs["statistics"].uri)
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


def test_transform_makes_the_same_vocabularies_and_numbers(run: Run, tmp_path):
    with workers_apart(tmp_path, boot=False) as context:
        outputs = execute_again(run, "Transform", tmp_path, context)
    (in_memory,) = inputs_of(run, "Trainer")["examples"]
    expected, transformed = (transformed_in(uri) for uri in (in_memory.uri, outputs["transformed_examples"].uri))
    assert transformed.keys() == expected.keys()
    for split, (ids, numbers) in expected.items():
        assert transformed[split][0] == ids
        np.testing.assert_allclose(transformed[split][1], numbers, rtol=1e-5, atol=1e-6)


def test_the_evaluation_is_the_same(run: Run, tmp_path):
    with workers_apart(tmp_path, boot=False) as context:
        outputs = execute_again(run, "SeesawEvaluator", tmp_path, context)
    in_memory = metrics(load_summary(run.output).places["evaluation"])
    assert metrics(outputs["evaluation"].uri) == pytest.approx(in_memory, abs=1e-12)
