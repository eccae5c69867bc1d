"""The normalised discounted cumulative gain of each list."""

import numpy as np

from evaluation.metrics.metric import PerUser, RatioMetric, TfmaMetric
from evaluation.metrics.ranking import NDCG_AT
from evaluation.metrics.task_rows import TaskRows


class NDCG(RatioMetric):
    """NDCG at `NDCG_AT` of each list, the label as gain, averaged over the lists with a positive."""

    name = "ndcg"
    label = f"NDCG@{NDCG_AT}"
    higher_is_better = True
    task_kind = "binary"
    tfma = TfmaMetric("UserNDCG", "evaluation.tfma.user_ranking", by_user=True)

    def per_user(self, rows: TaskRows) -> PerUser:
        has_positive = rows.ranking.positives > 0
        gains, lists = rows.sum_of_lists(np.where(has_positive, rows.ranking.ndcg, 0)), rows.sum_of_lists(has_positive)
        return PerUser(gains, lists, lists > 0)
