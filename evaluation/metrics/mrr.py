"""The mean reciprocal rank of each list's best positive."""

import numpy as np

from evaluation.metrics.metric import PerUser, RatioMetric, TfmaMetric
from evaluation.metrics.task_rows import TaskRows


class MRR(RatioMetric):
    """1 / the rank of the list's best positive, averaged over the lists with a positive.

    A list counts for the mean weight of its examples.
    """

    name = "mrr"
    label = "MRR"
    higher_is_better = True
    task_kind = "binary"
    tfma = TfmaMetric("UserMRR", "evaluation.tfma.user_ranking", by_user=True)

    def per_user(self, rows: TaskRows) -> PerUser:
        has_positive = rows.ranking.positives > 0
        weight = np.where(has_positive, rows.ranking.mean_weight, 0)
        reciprocal_ranks = rows.sum_of_lists(np.where(has_positive, rows.ranking.reciprocal_rank, 0) * weight)
        lists = rows.sum_of_lists(weight)
        return PerUser(reciprocal_ranks, lists, lists > 0)
