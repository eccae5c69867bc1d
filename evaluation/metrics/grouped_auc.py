"""Each user's AUC, averaged by impressions."""

import numpy as np

from evaluation.metrics.metric import PerUser, RatioMetric, TfmaMetric
from evaluation.metrics.task_rows import TaskRows


class GroupedAUC(RatioMetric):
    """The AUC of each user, averaged by the users' examples; users with one class are left out (Zhu et al. 2017)."""

    name = "grouped_auc"
    label = "grouped AUC"
    higher_is_better = True
    task_kind = "binary"
    tfma = TfmaMetric("GroupedAUC", "evaluation.tfma.user_ranking", by_user=True)

    def per_user(self, rows: TaskRows) -> PerUser:
        auc = rows.ranking.auc
        has_both_classes = ~np.isnan(auc)
        return PerUser(
            np.where(has_both_classes, auc, 0) * rows.examples, has_both_classes * rows.examples, has_both_classes
        )
