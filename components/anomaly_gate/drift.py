"""Stops a pipeline, or warns, when DistributionValidator found that the newest impressions are unlike the others."""

import logging

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import v1 as tfx
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

# Where DistributionValidator writes the anomalies of a pair of splits.
PAIR, FILE = "SplitPair-", "SchemaDiff.pb"
_WAY_ON = "Is it as it should be, raise the limits of `drift` in the spec, or set its action to warn."
_progress = logging.getLogger("fulcrum.progress")


class DriftError(ValueError):
    """The newest examples are unlike those to be trained on; the message is meant for a person."""


def drift_lines(anomalies: anomalies_pb2.Anomalies, pair: str) -> list[str]:
    """One line a column and reason: the splits, the column, how far it is and how far it may be."""
    splits = pair.replace("_", " against ")
    return [
        f"{splits}: {column}: {reason.description or reason.short_description}"
        for column, info in sorted(anomalies.anomaly_info.items())
        for reason in info.reason
    ]


@tfx.dsl.components.component
def DriftGate(  # noqa: N802 (components are named like classes)
    anomalies: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleAnomalies],
    action: tfx.dsl.components.Parameter[str],
) -> None:
    lines = []
    for pair in artifact_utils.decode_split_names(anomalies.split_names):
        with fileio.open(f"{anomalies.uri}/{PAIR}{pair}/{FILE}", "rb") as file:
            lines += drift_lines(anomalies_pb2.Anomalies.FromString(file.read()), pair)
    if lines and action == "stop":
        raise DriftError("\n  ".join(["the newest impressions are unlike those before them:", *lines, _WAY_ON]))
    for line in lines:
        _progress.warning("drift, %s", line)
