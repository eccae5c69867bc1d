"""The AUC of each list, averaged by impressions."""

import numpy as np

from evaluation.metrics.metric import PerUser, RatioMetric, TfmaMetric
from evaluation.metrics.task_rows import TaskRows


class GroupedAUC(RatioMetric):
    """The AUC of each list, averaged by the lists' examples; lists with one class are left out (Zhu et al. 2017).

    Grouped AUC is known by user. Of impressions at different moments it would compare what a user never chose between.
    """

    name = "grouped_auc"
    label = "grouped AUC"
    higher_is_better = True
    task_kind = "binary"
    tfma = TfmaMetric("GroupedAUC", "evaluation.tfma.user_ranking", by_user=True)

    def per_user(self, rows: TaskRows) -> PerUser:
        ranking = rows.ranking
        has_both_classes = ~np.isnan(ranking.auc)
        examples = np.where(has_both_classes, ranking.weight, 0)
        weights = rows.sum_of_lists(examples)
        return PerUser(rows.sum_of_lists(np.where(has_both_classes, ranking.auc, 0) * examples), weights, weights > 0)
