"""How well each user's items are ranked, as TFMA metrics: grouped AUC, NDCG and MRR.

    grouped_auc = MetricConfig(class_name="GroupedAUC", module="evaluation.tfma.user_ranking")
    MetricsSpec(query_key="user_id", metrics=[grouped_auc])

TFMA hands over all examples of one value of `query_key` at a time, so memory is bounded by a user. It puts all of a
user's examples into every slice that one of them is in; where a slice is made of a column that varies within a user,
this is not the metric on the slice's own examples.
"""

from collections.abc import Iterable

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

from evaluation.metrics.ranking import NDCG_AT, GroupRanking, rank_groups, score_bits, tie_runs


class _UserRankingCombiner(beam.CombineFn):
    """A weighted mean over users: (sum of values, sum of weights)."""

    def __init__(self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None, at: int):
        self._key, self._eval_config, self._at = key, eval_config, at

    def create_accumulator(self) -> tuple[float, float]:
        return 0.0, 0.0

    def add_input(
        self, accumulator: tuple[float, float], element: metric_types.StandardMetricInputs
    ) -> tuple[float, float]:
        labels, scores = _user_rows(element, self._key, self._eval_config)
        if not len(labels):
            return accumulator
        group = np.zeros(len(labels), np.int64)
        ranking = rank_groups(tie_runs(group, score_bits(scores), labels > 0.5), 1, self._at)
        value, weight = _VALUES[self._key.name](ranking)
        return (accumulator[0] + value * weight, accumulator[1] + weight) if weight else accumulator

    def merge_accumulators(self, accumulators: Iterable[tuple[float, float]]) -> tuple[float, float]:
        values, weights = zip(*accumulators, strict=True)
        return sum(values), sum(weights)

    def extract_output(self, accumulator: tuple[float, float]) -> dict[metric_types.MetricKey, float]:
        value, weight = accumulator
        return {self._key: value / weight if weight else float("nan")}


def _user_rows(
    element: metric_types.StandardMetricInputs, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of the user's examples in the task's sample space, both `(examples,)`."""
    rows = list(
        metric_util.to_label_prediction_example_weight(
            element,
            eval_config=eval_config,
            model_name=key.model_name,
            output_name=key.output_name,
            example_weighted=bool(key.example_weighted),
            flatten=True,
        )
    )
    labels, scores, weights = (np.array(column, np.float32).reshape(-1) for column in zip(*rows, strict=True))
    return labels[weights > 0], scores[weights > 0]


def _grouped_auc(ranking: GroupRanking) -> tuple[float, float]:
    (auc,) = ranking.auc
    return auc, 0.0 if np.isnan(auc) else float(ranking.positives[0] + ranking.negatives[0])


def _ndcg(ranking: GroupRanking) -> tuple[float, float]:
    return ranking.ndcg[0], float(ranking.positives[0] > 0)


def _mrr(ranking: GroupRanking) -> tuple[float, float]:
    return ranking.reciprocal_rank[0], float(ranking.positives[0] > 0)


_VALUES = {"grouped_auc": _grouped_auc, "ndcg": _ndcg, "mrr": _mrr}


def _computations(
    name: str,
    at: int,
    eval_config: config_pb2.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
    query_key: str = "",
) -> metric_types.MetricComputations:
    if not query_key:
        raise ValueError(f"{name} is taken user by user: set `query_key` in its MetricsSpec")
    key = metric_types.MetricKey(
        name, model_name=model_name, output_name=output_name, example_weighted=example_weighted
    )
    return [
        metric_types.MetricComputation(
            keys=[key], preprocessors=None, combiner=_UserRankingCombiner(key, eval_config, at)
        )
    ]


class _UserRanking(metric_types.Metric):
    def __init__(self, name: str, at: int = NDCG_AT):
        super().__init__(metric_util.merge_per_key_computations(_computations), name=name, at=at)


class GroupedAUC(_UserRanking):
    """The AUC of each user, averaged by the users' examples; users with one class only are left out."""

    def __init__(self, name: str = "grouped_auc"):
        super().__init__(name)


class UserNDCG(_UserRanking):
    """NDCG at `at` of each user, the label as gain, averaged over the users with a positive."""

    def __init__(self, name: str = "ndcg", at: int = NDCG_AT):
        super().__init__(name, at)


class UserMRR(_UserRanking):
    """1 / the rank of the user's best positive, averaged over the users with a positive."""

    def __init__(self, name: str = "mrr"):
        super().__init__(name)
