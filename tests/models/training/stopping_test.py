import pytest

from models.training.stopping import DivergedError, watched_loss
from schema.modelling import Training

METRICS = {"click": {"loss": 0.6, "auc": 0.7}, "finish": {"loss": 0.1, "r2": 0.2}, "like": {"loss": 0.2, "auc": None}}


def test_the_mean_loss_or_what_the_mean_metric_lacks_is_watched():
    assert watched_loss(Training(), METRICS, "eval") == pytest.approx(0.9 / 3)
    assert watched_loss(Training(stop_by="metrics"), METRICS, "eval") == pytest.approx(1 - (0.7 + 0.2 + 0.0) / 3)


@pytest.mark.parametrize("stop_by", ["loss", "metrics"])
def test_a_loss_that_is_not_finite_ends_training(stop_by):
    with pytest.raises(DivergedError, match="eval, epoch 2: the loss of 'like' is not finite"):
        watched_loss(Training(stop_by=stop_by), {**METRICS, "like": {"loss": None, "auc": 0.5}}, "eval, epoch 2")
