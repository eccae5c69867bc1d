"""The normalised discounted cumulative gain of each user's list."""

import numpy as np

from evaluation.metrics.metric import PerUser, RatioMetric, TfmaMetric
from evaluation.metrics.ranking import NDCG_AT
from evaluation.metrics.task_rows import TaskRows


class NDCG(RatioMetric):
    """NDCG at `NDCG_AT` of each user, the label as gain, averaged over the users with a positive."""

    name = "ndcg"
    label = f"NDCG@{NDCG_AT}"
    higher_is_better = True
    task_kind = "binary"
    tfma = TfmaMetric("UserNDCG", "evaluation.tfma.user_ranking", by_user=True)

    def per_user(self, rows: TaskRows) -> PerUser:
        has_positive = rows.ranking.positives > 0
        return PerUser(np.where(has_positive, rows.ranking.ndcg, 0), has_positive, has_positive)
