"""The mean reciprocal rank of each user's best positive."""

import numpy as np

from evaluation.metrics.metric import PerUser, RatioMetric, TfmaMetric
from evaluation.metrics.task_rows import TaskRows


class MRR(RatioMetric):
    """1 / the rank of the user's best positive, averaged over the users with a positive."""

    name = "mrr"
    label = "MRR"
    higher_is_better = True
    task_kind = "binary"
    tfma = TfmaMetric("UserMRR", "evaluation.tfma.user_ranking", by_user=True)

    def per_user(self, rows: TaskRows) -> PerUser:
        has_positive = rows.ranking.positives > 0
        return PerUser(np.where(has_positive, rows.ranking.reciprocal_rank, 0), has_positive, has_positive)
