"""Stops a pipeline when ExampleValidator found anomalies, and says which, in words."""

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import v1 as tfx
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

# The name under which ExampleValidator writes a split's anomalies.
_FILE = "SchemaDiff.pb"


class AnomalyError(ValueError):
    """The examples are not what the spec says; the message is meant for the person who runs the pipeline."""


def anomaly_lines(anomalies: anomalies_pb2.Anomalies, split: str) -> list[str]:
    """One line an anomaly: the split, the column, and what is wrong with it."""
    lines = [
        f"{split}: {column}: {info.short_description or info.description}"
        for column, info in sorted(anomalies.anomaly_info.items())
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        lines.append(f"{split}: {anomalies.dataset_anomaly_info.description}")
    if anomalies.data_missing:
        lines.append(f"{split}: has no examples")
    return lines


@tfx.dsl.components.component
def AnomalyGate(  # noqa: N802 (components are named like classes)
    anomalies: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleAnomalies],
) -> None:
    lines = []
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        path = f"{artifact_utils.get_split_uri([anomalies], split)}/{_FILE}"
        with fileio.open(path, "rb") as file:
            lines += anomaly_lines(anomalies_pb2.Anomalies.FromString(file.read()), split)
    if lines:
        raise AnomalyError("\n  ".join(["the examples do not fit the schema of the spec:", *lines]))
