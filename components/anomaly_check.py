"""Stops a pipeline when ExampleValidator found anomalies, and says which, in words."""

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts

from schema.anomalies import ANOMALIES_FILE, anomaly_lines


class AnomalyError(ValueError):
    """The examples are not what the spec says; the message is meant for the person who runs the pipeline."""


@component
def AnomalyCheck(  # noqa: N802 (components are named like classes)
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
) -> None:
    lines = []
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        path = f"{artifact_utils.get_split_uri([anomalies], split)}/{ANOMALIES_FILE}"
        with fileio.open(path, "rb") as file:
            lines += anomaly_lines(anomalies_pb2.Anomalies.FromString(file.read()), split)
    if lines:
        raise AnomalyError("\n  ".join(["the examples do not fit the schema of the spec:", *lines]))
