"""The names that EvalConfigs of earlier versions hold; see `evaluation.tfma.user_ranking`."""

from evaluation.tfma.user_ranking import GroupedAUC, UserMRR, UserNDCG

__all__ = ["GroupedAUC", "UserMRR", "UserNDCG"]
