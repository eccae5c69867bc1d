"""Defaults of the recipe that follow from how long a training is."""

import pytest

from schema.modelling import Training


@pytest.mark.parametrize(
    ("examples", "epochs"), [(20_000, 10), (50_000, 10), (50_001, 10), (100_000, 5), (140_000, 4), (700_000, 3)]
)
def test_the_train_split_is_seen_half_a_million_times_within_bounds(examples, epochs):
    assert Training().epochs_for(examples) == epochs
    assert Training(epochs=7).epochs_for(examples) == 7


@pytest.mark.parametrize(("steps", "decay"), [(0, 1.0), (410, 1.0), (1_300, 1.0), (2_600, 0.5), (13_000, 0.1)])
def test_weights_decay_less_in_longer_trainings(steps, decay):
    assert Training().weight_decay_for(steps) == pytest.approx(decay)
    assert Training(weight_decay=0.7).weight_decay_for(steps) == 0.7
