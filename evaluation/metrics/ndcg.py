"""The normalised discounted cumulative gain of each list."""

import numpy as np

from evaluation.metrics.metric import PerUser, RatioMetric, TfmaMetric
from evaluation.metrics.ranking import NDCG_AT
from evaluation.metrics.task_rows import TaskRows


class NDCG(RatioMetric):
    """NDCG at `NDCG_AT` of each list, the label as gain, averaged over the lists with a positive.

    A list counts for the mean weight of its examples.
    """

    name = "ndcg"
    label = f"NDCG@{NDCG_AT}"
    higher_is_better = True
    task_kind = "binary"
    tfma = TfmaMetric("UserNDCG", "evaluation.tfma.user_ranking", by_user=True)

    def per_user(self, rows: TaskRows) -> PerUser:
        has_positive = rows.ranking.positives > 0
        weight = np.where(has_positive, rows.ranking.mean_weight, 0)
        lists = rows.sum_of_lists(weight)
        gains = rows.sum_of_lists(np.where(has_positive, rows.ranking.ndcg, 0) * weight)
        return PerUser(gains, lists, lists > 0)
