"""Stops a pipeline, or warns, when DistributionValidator found that the newest impressions are unlike the others."""

import logging

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts

from schema.anomalies import ANOMALIES_FILE, PAIR_FOLDER, drift_lines

_WAY_ON = "Is it as it should be, raise the limits of `drift` in the spec, or set its action to warn."
_progress = logging.getLogger("fulcrum.progress")


class DriftError(ValueError):
    """The newest examples are unlike those to be trained on; the message is meant for a person."""


@component
def DriftCheck(  # noqa: N802 (components are named like classes)
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    action: Parameter[str],
) -> None:
    lines = []
    for pair in artifact_utils.decode_split_names(anomalies.split_names):
        with fileio.open(f"{anomalies.uri}/{PAIR_FOLDER}{pair}/{ANOMALIES_FILE}", "rb") as file:
            lines += drift_lines(anomalies_pb2.Anomalies.FromString(file.read()), pair)
    if lines and action == "stop":
        raise DriftError("\n  ".join(["the newest impressions are unlike those before them:", *lines, _WAY_ON]))
    for line in lines:
        _progress.warning("drift, %s", line)
