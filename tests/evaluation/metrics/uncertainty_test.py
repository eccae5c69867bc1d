"""Intervals by user: what their parts are, and that they cover the truth."""

import numpy as np
import pytest
from scipy import stats

from evaluation.metrics.uncertainty import Interval, Moments, degrees_of_freedom, moments, standard_error


def test_the_standard_error_of_a_mean_is_the_textbooks():
    values = np.random.default_rng(0).normal(size=30)
    mean_moments = moments((values - values.mean()) / 30)
    assert standard_error(mean_moments) == pytest.approx(values.std(ddof=1) / np.sqrt(30))


def test_moments_of_parts_add_up():
    influence = np.random.default_rng(0).normal(size=(2, 50))
    both = moments(influence[:, :20]) + moments(influence[:, 20:])
    np.testing.assert_allclose(both.second, moments(influence).second)
    np.testing.assert_array_equal(both.users, [50, 50])


def test_a_user_who_outweighs_all_others_leaves_hardly_any_degrees_of_freedom():
    influence = np.full(1_000, 0.001)
    assert degrees_of_freedom(moments(influence)) == 999
    influence[0] = 1.0
    assert degrees_of_freedom(moments(influence)) == 2


def test_equal_models_have_an_interval_of_no_width():
    nothing = Moments(np.array(10), np.array(0.0), np.array(0.0))
    assert standard_error(nothing) == 0
    assert degrees_of_freedom(nothing) == 9
    assert np.isnan(standard_error(Moments(np.array(1), np.array(0.0), np.array(0.0))))


def test_the_half_width_is_students():
    assert Interval(0.0, 2.0, 9.0).half_width() == pytest.approx(2 * stats.t.ppf(0.975, 9))
