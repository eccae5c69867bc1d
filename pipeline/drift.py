"""What the spec allows the newest impressions to differ from those trained on, as DistributionValidator takes it."""

from tfx.proto import distribution_validator_pb2

from schema.columns import example_columns
from schema.spec import Drift, RankingSpec

# (looked at, compared with): the newest impressions of the window against those that the model is trained on.
SPLIT_PAIRS = [("test", "train")]


def drift_config(spec: RankingSpec, drift: Drift) -> distribution_validator_pb2.DistributionValidatorConfig:
    """Texts by the L-infinity distance, the largest change of a value's share; numbers by Jensen-Shannon divergence.

    It is the only distance that TensorFlow Data Validation takes for numbers.
    """
    config = distribution_validator_pb2.DistributionValidatorConfig()
    kinds = {column.name: column.dtype for column in example_columns(spec)}
    for name, limit in drift.limits.items():
        feature = config.default_slice_config.feature.add()
        feature.path.step.append(name)
        comparator = feature.distribution_comparator
        distance = comparator.infinity_norm if kinds[name] == "string" else comparator.jensen_shannon_divergence
        distance.threshold = limit
    return config
