"""TFDV's anomalies in words: what does not fit the schema, and what drifted."""

from tensorflow_metadata.proto.v0 import anomalies_pb2

# Where ExampleValidator writes a split's anomalies, and DistributionValidator those of a pair of splits.
SPLIT_FOLDER, PAIR_FOLDER, ANOMALIES_FILE = "Split-", "SplitPair-", "SchemaDiff.pb"


def anomaly_lines(anomalies: anomalies_pb2.Anomalies, split: str) -> list[str]:
    """Returns one line an anomaly: the split, the column, and what is wrong with it."""
    lines = [
        f"{split}: {column}: {info.short_description or info.description}"
        for column, info in sorted(anomalies.anomaly_info.items())
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        lines.append(f"{split}: {anomalies.dataset_anomaly_info.description}")
    if anomalies.data_missing:
        lines.append(f"{split}: has no examples")
    return lines


def drift_lines(anomalies: anomalies_pb2.Anomalies, pair: str) -> list[str]:
    """Returns one line a column and reason: the splits, the column, how far it is and how far it may be."""
    splits = pair.replace("_", " against ")
    return [
        f"{splits}: {column}: {reason.description or reason.short_description}"
        for column, info in sorted(anomalies.anomaly_info.items())
        for reason in info.reason
    ]
