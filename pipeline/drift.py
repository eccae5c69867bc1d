"""Configures DistributionValidator: how far the spec lets the newest impressions differ from those trained on."""

from tfx.proto import distribution_validator_pb2

from schema.columns import example_columns
from schema.spec import Drift, RankingSpec

# (looked at, compared with): the newest impressions of the window against those that the model is trained on.
SPLIT_PAIRS = [("test", "train")]


def drift_config(spec: RankingSpec, drift: Drift) -> distribution_validator_pb2.DistributionValidatorConfig:
    """Returns the limits: of texts by L-infinity, the largest change of a value's share, of numbers by Jensen-Shannon.

    That divergence is the only distance that TensorFlow Data Validation takes for numbers. A vector's numbers are
    compared as one histogram.
    """
    config = distribution_validator_pb2.DistributionValidatorConfig()
    columns = {column.name: column for column in example_columns(spec)}
    for name, limit in drift.limits.items():
        feature = config.default_slice_config.feature.add()
        feature.path.step.append(name)
        comparator = feature.distribution_comparator
        distance = comparator.jensen_shannon_divergence
        if columns[name].comparable == "shares":
            distance = comparator.infinity_norm
        distance.threshold = limit
    return config
