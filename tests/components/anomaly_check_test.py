import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.anomaly_check import AnomalyCheck, AnomalyError, anomaly_lines


def _anomalies(description: str) -> anomalies_pb2.Anomalies:
    anomalies = anomalies_pb2.Anomalies()
    anomalies.anomaly_info["duration"].short_description = description
    return anomalies


def _artifact(root, by_split: dict[str, anomalies_pb2.Anomalies]) -> standard_artifacts.ExampleAnomalies:
    artifact = standard_artifacts.ExampleAnomalies()
    artifact.uri = str(root)
    artifact.split_names = artifact_utils.encode_split_names(list(by_split))
    for split, anomalies in by_split.items():
        folder = root / f"Split-{split}"
        folder.mkdir()
        (folder / "SchemaDiff.pb").write_bytes(anomalies.SerializeToString())
    return artifact


def test_an_anomaly_names_its_split_column_and_what_is_wrong():
    assert anomaly_lines(_anomalies("Out-of-range values"), "train") == ["train: duration: Out-of-range values"]


def test_a_split_without_examples_is_an_anomaly():
    statistics = statistics_pb2.DatasetFeatureStatisticsList(datasets=[{"num_examples": 0}])
    schema = schema_pb2.Schema(feature=[{"name": "duration", "type": schema_pb2.FLOAT}])
    assert anomaly_lines(tfdv.validate_statistics(statistics, schema), "eval") == ["eval: has no examples"]


def test_the_gate_stops_the_run_in_words(tmp_path):
    artifact = _artifact(tmp_path, {"train": anomalies_pb2.Anomalies(), "eval": _anomalies("Unexpected data type")})
    with pytest.raises(AnomalyError, match="eval: duration: Unexpected data type"):
        AnomalyCheck.test_call(anomalies=artifact)


def test_clean_examples_pass_the_gate(tmp_path):
    AnomalyCheck.test_call(anomalies=_artifact(tmp_path, {"train": anomalies_pb2.Anomalies()}))
