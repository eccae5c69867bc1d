import pytest

from models.tasks import LabelSummary
from models.training.stopping import DivergedError, watched_loss
from schema.modelling import Training

METRICS = {"click": {"loss": 0.6, "auc": 0.7}, "finish": {"loss": 0.1, "r2": 0.2}, "like": {"loss": 0.2, "auc": None}}


def test_the_mean_loss_or_what_the_mean_metric_lacks_is_watched():
    assert watched_loss(Training(stop_by="loss"), METRICS, "eval") == pytest.approx(0.9 / 3)
    assert watched_loss(Training(stop_by="metrics"), METRICS, "eval") == pytest.approx(1 - (0.7 + 0.2 + 0.0) / 3)


@pytest.mark.parametrize("stop_by", ["loss", "metrics"])
def test_a_loss_that_is_not_finite_ends_training(stop_by):
    with pytest.raises(DivergedError, match="eval, epoch 2: the loss of 'like' is not finite"):
        watched_loss(Training(stop_by=stop_by), {**METRICS, "like": {"loss": None, "auc": 0.5}}, "eval, epoch 2")


def test_a_metric_counts_in_proportion_to_its_precision():
    labels = {
        "click": LabelSummary(900, 0.5, 0.0, 1.0),
        "finish": LabelSummary(400, 0.3, 0.0, 1.0),
        "like": LabelSummary(900, 0.01, 0.0, 1.0),
    }
    # sqrt(900 * .25), sqrt(400 * .25), sqrt(900 * .0099)
    weights = (15.0, 10.0, 2.98496)
    metrics = {**METRICS, "like": {"loss": 0.2, "auc": 0.9}}
    expected = 1 - (15 * 0.7 + 10 * 0.2 + weights[2] * 0.9) / sum(weights)
    assert watched_loss(Training(stop_by="metrics"), metrics, "eval", labels) == pytest.approx(expected, rel=1e-5)
    assert watched_loss(Training(stop_by="loss"), metrics, "eval", labels) == pytest.approx(0.9 / 3)
