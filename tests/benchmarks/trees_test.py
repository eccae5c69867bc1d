"""What LightGBM reads in the benchmark against trees, and that it learns from it."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import trees
from schema.derived import Derived
from schema.features import Feature
from schema.spec import ExampleWeight, RankingSpec
from schema.statistics import Measure

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


def test_trees_read_the_ages_of_statistics(spec):
    aged = spec.model_copy(update={"statistics": spec.statistics.model_copy(update={"age": True})})
    train = split(np.array([0.2, 0.8, 0.4, 0.9]))
    # Seconds since the last impression and the last click.
    ages = np.array([[60, 90], [5, -1], [7, 8], [0, 1]], np.float32)
    train.values["item_statistics"] = np.concatenate([train.values["item_statistics"], ages], axis=1)
    read = trees.Table(train, aged, statistics=True).transform(train)
    np.testing.assert_array_equal(read[:, -2:], ages)


def test_the_rate_of_a_measure_is_smoothed_towards_the_train_split(spec):
    measured = spec.statistics.model_copy(update={"measures": (Measure(name="played", sum="play_ms"),)})
    measuring = spec.model_copy(update={"statistics": measured})

    def played(sums: list[float]) -> trees.Split:
        rows = split(np.array([0.2, 0.8, 0.4, 0.9]))
        statistics = np.concatenate([rows.values["item_statistics"], np.array(sums)[:, None]], axis=1)
        return trees.Split({**rows.values, "item_statistics": statistics.astype(np.float32)})

    # Of 40 impressions 100 in all, so p = 2.5; m = 2.
    table = trees.Table(played([10, 20, 30, 40]), measuring, statistics=True)
    read = table.transform(played([0, 100, 200, 700]))
    np.testing.assert_allclose(read[:, -1], (np.array([0, 100, 200, 700]) + 2 * 2.5) / (10 + 2), rtol=1e-6)


def test_trees_read_crosses_and_look_ups(spec):
    features = [
        {"name": "price", "source": "log", "kind": "numeric", "scale": "buckets", "buckets": 2},
        {"name": "tastes", "source": "log", "kind": "map"},
        {"name": "shops", "source": "log", "kind": "map", "values": "categorical"},
    ]
    derive = [
        {"name": "tab_x_price", "cross": ["tab", "price"]},
        {"name": "taste", "look_up": {"map": "tastes", "key": "tab"}},
        {"name": "shop", "look_up": {"map": "shops", "key": "tab"}},
    ]
    added = {
        "features": (*spec.features, *map(Feature.model_validate, features)),
        "derive": tuple(map(Derived.model_validate, derive)),
    }
    maps = {
        "tastes": tf.ragged.constant([[b"x=0.5", b"y=2"], [b"y=2"], [b"y=3"], []], dtype=tf.string),
        "shops": tf.ragged.constant([[b"x=a"], [b"x=b"], [b"y=a"], [b"x=a"]], dtype=tf.string),
    }
    train = trees.Split({**split(np.array([0.2, 0.8, 0.4, 0.9])).values, "price": np.array([1.0, 2, 3, np.nan])}, maps)
    table = trees.Table(train, spec.model_copy(update=added), statistics=False)
    _, tab, cross, shop, _, _, taste = table.transform(train).T
    np.testing.assert_array_equal(tab, [0, 0, 1, 0])
    # The median is 2: x with the lower half, x with the upper one, y with the upper one, x without a price.
    assert len(set(cross.tolist())) == 4
    np.testing.assert_array_equal(shop, [0, 1, 0, 0])
    np.testing.assert_array_equal(taste, [0.5, np.nan, 3, np.nan])
    assert table.categorical == [0, 1, 2, 3]


def test_an_example_counts_for_its_weight(spec):
    weighted = spec.model_copy(update={"weight": ExampleWeight(column="importance")})
    random = np.random.default_rng(1)
    train, evaluation, test = (split(random.random(ROWS)) for _ in range(3))
    for part in (train, evaluation):
        # What is shown doesn't tell the labels; those of 1 count nine times as much.
        part.values["label_click"][:] = random.permutation(np.arange(ROWS) % 2)
        part.values["space_click"][:] = np.where(part.values["label_click"], 9, 1)
    means = [trees.scores(train, evaluation, test, s, statistics=False, seed=1).mean() for s in (spec, weighted)]
    np.testing.assert_allclose(means, [0.5, 0.9], atol=0.05)


def test_scores_that_were_kept_are_found_by_what_the_trees_read(spec):
    assert trees.settings(spec) == [spec.to_json(), trees.SETTINGS]
    weighted = spec.model_copy(update={"weight": ExampleWeight(column="importance")})
    assert trees.settings(weighted)[2:] == ["weight"]
