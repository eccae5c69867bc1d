"""How well each list of items is ranked, as TFMA metrics: grouped AUC, NDCG and MRR.

    grouped_auc = MetricConfig(class_name="GroupedAUC", module="evaluation.tfma.user_ranking")
    MetricsSpec(query_key="user_id", metrics=[grouped_auc])

All examples of a user are one list. Where a user's lists are told apart by a column of integers, it is named, with how
much of it one list spans: `config='{"list_key": "timestamp", "list_length": 86400}'` are days in UTC.

TFMA hands over all examples of one value of `query_key` at a time, so memory is bounded by a user. It puts all of a
user's examples into every slice that one of them is in; where a slice is made of a column that varies within a user,
this is not the metric on the slice's own examples.
"""

from collections.abc import Iterable

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import util

from evaluation.metrics.ranking import NDCG_AT, GroupRanking, rank_weighted_groups, score_bits


class _UserRankingCombiner(beam.CombineFn):
    """A weighted mean over lists: (sum of values, sum of weights)."""

    def __init__(
        self,
        key: metric_types.MetricKey,
        eval_config: config_pb2.EvalConfig | None,
        at: int,
        list_key: str | None,
        list_length: int,
    ):
        self._key, self._eval_config, self._at = key, eval_config, at
        self._list_key, self._list_length = list_key, list_length

    def create_accumulator(self) -> tuple[float, float]:
        return 0.0, 0.0

    def add_input(
        self, accumulator: tuple[float, float], element: metric_types.StandardMetricInputs
    ) -> tuple[float, float]:
        labels, scores, example_weights = _user_rows(element, self._key, self._eval_config)
        in_space = example_weights > 0
        lists = self._lists(element, len(labels))[in_space]
        if not len(lists):
            return accumulator
        numbers, group = np.unique(lists, return_inverse=True)
        ranking = rank_weighted_groups(
            group,
            score_bits(scores[in_space]),
            labels[in_space] > 0.5,
            example_weights[in_space],
            len(numbers),
            self._at,
        )
        values, weights = _VALUES[self._key.name](ranking)
        counted = weights > 0
        return (
            accumulator[0] + float(values[counted] @ weights[counted]),
            accumulator[1] + float(weights[counted].sum()),
        )

    def _lists(self, element: metric_types.StandardMetricInputs, examples: int) -> np.ndarray:
        """Returns the number of each example's list, `(examples,)`."""
        if self._list_key is None:
            return np.zeros(examples, np.int64)
        column = util.get_by_keys(element.combined_features, [self._list_key]).reshape(-1)
        if len(column) != examples:
            raise ValueError(
                f"{self._key.name}: list_key {self._list_key!r}: expected one number an example, "
                f"got {len(column)} of {examples} examples"
            )
        return column // self._list_length

    def merge_accumulators(self, accumulators: Iterable[tuple[float, float]]) -> tuple[float, float]:
        values, weights = zip(*accumulators, strict=True)
        return sum(values), sum(weights)

    def extract_output(self, accumulator: tuple[float, float]) -> dict[metric_types.MetricKey, float]:
        value, weight = accumulator
        return {self._key: value / weight if weight else float("nan")}


def _user_rows(
    element: metric_types.StandardMetricInputs, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the user's labels, scores and weights, 0 outside the task's sample space, all `(examples,)`."""
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
    return labels, scores, weights


def _grouped_auc(ranking: GroupRanking) -> tuple[np.ndarray, np.ndarray]:
    return ranking.auc, np.where(np.isnan(ranking.auc), 0.0, ranking.weight)


def _ndcg(ranking: GroupRanking) -> tuple[np.ndarray, np.ndarray]:
    return ranking.ndcg, np.where(ranking.positives > 0, ranking.mean_weight, 0.0)


def _mrr(ranking: GroupRanking) -> tuple[np.ndarray, np.ndarray]:
    return ranking.reciprocal_rank, np.where(ranking.positives > 0, ranking.mean_weight, 0.0)


# The values and weights of lists, both `(lists,)`; a value is NaN where its weight is 0.
_VALUES = {"grouped_auc": _grouped_auc, "ndcg": _ndcg, "mrr": _mrr}


def _computations(
    name: str,
    at: int,
    list_key: str | None,
    list_length: int,
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
    combiner = _UserRankingCombiner(key, eval_config, at, list_key, list_length)
    preprocessors = [metric_types.FeaturePreprocessor(feature_keys=[list_key])] if list_key else None
    return [metric_types.MetricComputation(keys=[key], preprocessors=preprocessors, combiner=combiner)]


class _UserRanking(metric_types.Metric):
    def __init__(self, name: str, at: int = NDCG_AT, list_key: str | None = None, list_length: int = 1):
        if list_length < 1:
            raise ValueError(f"{name}: list_length: expected at least 1, got {list_length}")
        super().__init__(
            metric_util.merge_per_key_computations(_computations),
            name=name,
            at=at,
            list_key=list_key,
            list_length=list_length,
        )


class GroupedAUC(_UserRanking):
    """The AUC of each list, averaged by the lists' examples; lists with one class only are left out."""

    def __init__(self, name: str = "grouped_auc", list_key: str | None = None, list_length: int = 1):
        super().__init__(name, NDCG_AT, list_key, list_length)


class UserNDCG(_UserRanking):
    """NDCG at `at` of each list, the label as gain, averaged over the lists with a positive."""

    def __init__(self, name: str = "ndcg", at: int = NDCG_AT, list_key: str | None = None, list_length: int = 1):
        super().__init__(name, at, list_key, list_length)


class UserMRR(_UserRanking):
    """1 / the rank of the list's best positive, averaged over the lists with a positive."""

    def __init__(self, name: str = "mrr", list_key: str | None = None, list_length: int = 1):
        super().__init__(name, NDCG_AT, list_key, list_length)
