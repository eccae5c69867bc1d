"""Drift of the newest impressions: TFX's DistributionValidator for real, and what its verdict does."""

import logging
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.statistics.stats_options import StatsOptions
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import json_utils, proto_utils

from components.distribution_validator import Executor
from components.drift_check import DriftCheck, DriftError
from pipeline.drift import SPLIT_PAIRS, drift_config
from schema.loading import SpecError, load_spec
from schema.spec import RankingSpec

SHORTVIDEO = Path(__file__).resolve().parents[2] / "schema" / "specs" / "shortvideo.yaml"


def _spec(**limits: float) -> RankingSpec:
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    declared["features"].append({"name": "embedding", "source": "items", "kind": "vector", "size": 2})
    return RankingSpec.model_validate({**declared, "drift": {"limits": limits}})


@pytest.fixture(scope="module")
def statistics(tmp_path_factory) -> standard_artifacts.ExampleStatistics:
    """In the test split, one in ten countries has become another, activity has doubled, and so have vectors."""
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri = str(tmp_path_factory.mktemp("statistics"))
    artifact.split_names = artifact_utils.encode_split_names(["train", "test"])
    for split, french, activity in (("train", 50, 1.0), ("test", 60, 2.0)):
        countries = [[b"FR"]] * french + [[b"BR"]] * (100 - french)
        rows = pa.RecordBatch.from_pydict(
            {
                "country": countries,
                "activity": [[activity * (i % 10)] for i in range(100)],
                "tab": [[b"home"]] * 100,
                "embedding": [[float("nan")] * 2 if i % 9 == 0 else [i % 10, activity * i % 10] for i in range(100)],
            }
        )
        feature_statistics = stats_impl.generate_statistics_in_memory(rows, StatsOptions())
        folder = Path(artifact.uri, f"Split-{split}")
        folder.mkdir()
        (folder / "FeatureStats.pb").write_bytes(feature_statistics.SerializeToString())
    return artifact


def _validated(statistics, folder: Path, as_text: bool = False, **limits: float) -> standard_artifacts.ExampleAnomalies:
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(folder)
    spec = _spec(**limits)
    config = drift_config(spec, spec.drift)
    Executor().Do(
        {"statistics": [statistics], "baseline_statistics": [statistics]},
        {"anomalies": [anomalies]},
        {
            "distribution_validator_config": proto_utils.proto_to_json(config) if as_text else config,
            "include_split_pairs": json_utils.dumps(SPLIT_PAIRS),
        },
    )
    return anomalies


def test_drift_above_a_limit_stops_the_run_and_names_each_column(statistics, tmp_path):
    anomalies = _validated(statistics, tmp_path, country=0.05, activity=0.05, tab=0.01)
    with pytest.raises(DriftError) as error:
        DriftCheck.test_call(anomalies=anomalies, action="stop")
    assert "test against train: country: The Linfty distance" in str(error.value)
    assert "test against train: activity: The approximate Jensen-Shannon divergence" in str(error.value)
    assert "tab" not in str(error.value)


def test_a_vectors_numbers_are_compared_as_one_histogram(statistics, tmp_path):
    with pytest.raises(DriftError, match="test against train: embedding: The approximate Jensen-Shannon divergence"):
        DriftCheck.test_call(anomalies=_validated(statistics, tmp_path, embedding=0.01), action="stop")


def test_in_a_container_of_kubeflow_the_limits_come_as_text(statistics, tmp_path):
    anomalies = _validated(statistics, tmp_path, as_text=True, country=0.05)
    with pytest.raises(DriftError, match="country: The Linfty distance"):
        DriftCheck.test_call(anomalies=anomalies, action="stop")


def test_drift_warns_where_the_spec_says_so(statistics, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "fulcrum.progress"):
        DriftCheck.test_call(anomalies=_validated(statistics, tmp_path, country=0.05), action="warn")
    assert "country: The Linfty distance" in caplog.text


def test_what_stays_within_its_limits_passes(statistics, tmp_path):
    DriftCheck.test_call(anomalies=_validated(statistics, tmp_path, country=0.2, tab=0.01), action="stop")


def test_a_limit_is_of_a_feature_or_a_label(tmp_path):
    path = tmp_path / "spec.yaml"
    declared = yaml.safe_load(SHORTVIDEO.read_text())
    path.write_text(yaml.safe_dump({**declared, "drift": {"limits": {"contry": 0.1}}}))
    with pytest.raises(SpecError, match=r"drift\.limits: got 'contry', expected a feature or a task's label: tab"):
        load_spec(path)
