"""What LightGBM reads in the benchmark against trees, and that it learns from it."""

import numpy as np
import pytest

from benchmarks import trees
from schema.spec import RankingSpec

ROWS = 400


@pytest.fixture(scope="module")
def spec() -> RankingSpec:
    return RankingSpec.model_validate(
        {
            "name": "counting",
            "log": {
                "layout": "impressions",
                "files": "*.csv",
                "user": "user",
                "item": "item",
                "timestamp": {"column": "time"},
            },
            "features": [
                {"name": "tab", "source": "log", "kind": "categorical"},
                {"name": "length", "source": "log", "kind": "numeric"},
            ],
            "statistics": {"by": ["item"], "half_lives": [], "prior_strength": 2},
            "tasks": [{"name": "click", "column": "click"}],
            "model": {"embed_ids": ["item_id"]},
        }
    )


def split(rates: np.ndarray) -> trees.Split:
    """Rows whose label is 1 where their item's rate is high; of ten impressions each."""
    clicks = np.stack([np.full(len(rates), 10.0), 10 * rates], axis=1).astype(np.float32)
    return trees.Split(
        {
            "item_id": np.array([b"a", b"b"] * (len(rates) // 2), object),
            "tab": np.array([b"x", b"x", b"y", b"x"] * (len(rates) // 4), object),
            "length": np.arange(len(rates), dtype=np.float32),
            "item_statistics": clicks,
            "label_click": (rates > 0.5).astype(np.float32),
            "space_click": np.ones(len(rates), np.float32),
        }
    )


def test_trees_read_categories_by_rank_numbers_counts_and_smoothed_rates(spec):
    train = split(np.array([0.2, 0.8, 0.4, 0.9]))
    table = trees.Table(train, spec, statistics=True)
    # item, tab | length | impressions, (s + m p) / (n + m) with m = 2, p = .5
    rates = (10 * np.array([0.2, 0.8, 0.4, 0.9]) + 2 * 0.5) / (10 + 2)
    expected = np.stack([[0, 1, 0, 1], [0, 0, 1, 0], [0, 1, 2, 3], [10] * 4, rates], axis=1)
    np.testing.assert_allclose(table.transform(train), expected, rtol=1e-6)
    assert table.categorical == [0, 1]
    assert trees.Table(train, spec, statistics=False).transform(train).shape == (4, 3)


def test_a_value_that_the_train_split_lacks_is_missing(spec):
    table = trees.Table(split(np.array([0.2, 0.8, 0.4, 0.9])), spec, statistics=False)
    new = split(np.array([0.2, 0.8, 0.4, 0.9]))
    new.values["tab"][0] = b"new"
    assert np.isnan(table.transform(new)[0, 1])


def test_a_task_that_the_statistics_tell_is_learnt_from_them(spec):
    random = np.random.default_rng(1)
    train, evaluation, test = (split(random.random(ROWS)) for _ in range(3))
    (scores,) = trees.scores(train, evaluation, test, spec, statistics=True, seed=1)
    labels = test.labels(spec.tasks[0]) > 0
    assert scores[labels].min() > scores[~labels].max()
