"""Statistics in Transform: log counts and smoothed log-odds, against the equations in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from models.features import dense, placeholders, transformed_feature_spec
from schema.columns import example_columns
from schema.spec import RankingSpec
from schema.statistics import slots, statistics_of

STRENGTH = 2.0


@pytest.fixture(scope="module")
def counting() -> RankingSpec:
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
            "statistics": {"by": ["item"], "prior_strength": STRENGTH, "age": True},
            "tasks": [
                {"name": "click", "column": "click"},
                {"name": "finish", "ratio": {"numerator": "played", "denominator": "length"}},
                {"name": "like", "column": "liked", "within": {"column": "click"}},
            ],
        }
    )


# By span: impressions, click, finish, like; then the ages in seconds, -1 where there was no such row.
VECTORS = np.array(
    [
        [4, 2, 1.5, 1, 10, 5, 4.5, 2, 60, 60, 60, 3_600],
        [0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1],
        [1, 1, 0.5, 0, 8, 6, 2.0, 1, 86_400, 86_400, 86_400, 86_400],
        [np.nan] * 12,
    ]
)
CLICKS, FINISHES, LIKES = [1, 0, 1, 0], [0.25, 0.5, 0.75, 1.0], [1, 0, 0, 0]


def example(spec: RankingSpec, row: int) -> bytes:
    message = tf.train.Example()
    values = {"label_click": CLICKS[row], "label_finish": FINISHES[row], "label_like": LIKES[row]}
    values |= {"space_click": 1, "space_finish": 1, "space_like": CLICKS[row]}
    for column in example_columns(spec):
        feature = message.features.feature[column.name]
        if column.dtype == "string":
            feature.bytes_list.value.append(b"x")
        elif column.dtype == "int":
            feature.int64_list.value.append(1_700_000_000)
        else:
            feature.float_list.value.extend(VECTORS[row] if column.width else [values[column.name]])
    return message.SerializeToString()


@pytest.fixture(scope="module")
def transformed(counting, transform_examples, tmp_path_factory) -> dict[str, tf.Tensor]:
    records = [example(counting, row) for row in range(len(VECTORS))]
    paths = transform_examples(counting, {"train": records, "eval": records}, tmp_path_factory.mktemp("counting"))
    files = tf.io.gfile.glob(paths.examples["eval"])
    batch = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(10).get_single_element()
    parsed = tf.io.parse_example(batch, transformed_feature_spec(counting))
    # On disk they stand in any order.
    order = tf.argsort(parsed["label_finish"])
    return {name: tf.gather(values, order) for name, values in parsed.items()}


def logit(rate: np.ndarray) -> np.ndarray:
    return np.log(rate / (1 - rate))


def test_the_vectors_are_laid_out_as_the_slots_say(counting):
    (statistic,) = statistics_of(counting)
    assert [slot.name for slot in slots(counting, statistic)][:6] == [
        "item.impressions.1d",
        "item.click.1d",
        "item.finish.1d",
        "item.like.1d",
        "item.impressions.lifetime",
        "item.click.lifetime",
    ]


def test_counts_rates_and_ages_are_those_of_the_equations(transformed):
    vectors, rows = VECTORS[:3], transformed["item_statistics"].numpy()
    # impressions and clicks (in which likes are counted) of a day, and since ever
    counts = np.log1p(vectors[:, [0, 1, 4, 5]])
    np.testing.assert_allclose(rows[:3, :4], (counts - counts.mean(0)) / counts.std(0), rtol=1e-4, atol=1e-5)

    priors = {"click": np.mean(CLICKS), "finish": np.mean(FINISHES), "like": np.dot(LIKES, CLICKS) / np.sum(CLICKS)}
    news = []
    for first in (0, 4):
        impressions, clicks, finishes, likes = vectors[:, first : first + 4].T
        for task, total, count in (
            ("click", clicks, impressions),
            ("finish", finishes, impressions),
            ("like", likes, clicks),
        ):
            rate = (total + STRENGTH * priors[task]) / (count + STRENGTH)
            news.append(rate - priors[task] if task == "finish" else logit(rate) - logit(priors[task]))
    news = np.array(news).T
    scaled = news / news.std(0)
    # What is further out than two deviations counts as two.
    assert (np.abs(scaled) > 2.1).any()
    np.testing.assert_allclose(rows[:3, 4:10], np.clip(scaled, -2, 2), rtol=1e-4, atol=1e-5)
    # A key that was never seen is no news.
    np.testing.assert_allclose(rows[1, 4:10], 0, atol=1e-6)

    ages = np.log1p(vectors[:, 8:]) / np.log1p(86_400)
    np.testing.assert_allclose(rows[:3, 10:14], np.where(vectors[:, 8:] < 0, 2.0, ages), rtol=1e-5)


def test_a_missing_key_is_zeros_and_an_indicator(transformed):
    rows = transformed["item_statistics"].numpy()
    np.testing.assert_array_equal(rows[3], [0] * 14 + [1])
    np.testing.assert_array_equal(rows[:3, -1], 0)


def test_the_ranker_reads_the_vector_as_one_value(counting, transformed):
    assert dense(transformed, counting)["item_statistics"].shape == (4, 15)
    assert placeholders(counting)["item_statistics"].shape == (1, 15)
