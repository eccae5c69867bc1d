import numpy as np
import pytest

from benchmarks import arrays, census_training, routing_speed, seesaw
from benchmarks.arrays import Rows, Splits
from benchmarks.census import RECIPE, SHAPE
from benchmarks.census_data import NUMERIC
from models.training import reading

SMALL = SHAPE.model_copy(update={"routing": "shared_bottom", "expert_units": (16,)})


def rows(count: int) -> Rows:
    """Two columns of three and four values; the first decides the first label, a number the second."""
    random = np.random.default_rng(count)
    ids = {"race": random.integers(0, 3, count), "sex": random.integers(0, 4, count)}
    numbers = {f"{name}_scaled": random.normal(size=count).astype(np.float32) for name in NUMERIC}
    labels = np.stack([ids["race"] == 2, numbers["age_scaled"] > 0], axis=1)
    return Rows(ids | numbers, labels.astype(np.float32))


@pytest.fixture
def splits() -> Splits:
    return Splits(rows(1500), rows(300), rows(400), {"race": 3, "sex": 4})


def test_what_is_written_is_what_the_ranker_reads(splits, tmp_path):
    spec = census_training.census_spec(splits, SHAPE, RECIPE)
    arrays.write_examples(splits.test, spec, tmp_path / "test.gz")
    records = reading.serialized_examples([str(tmp_path / "test.gz")])
    (batch,) = reading.batches(records, spec, len(splits.test))
    for name, values in splits.test.columns.items():
        np.testing.assert_array_equal(batch[name], values)
    np.testing.assert_array_equal(batch["label_never_married"], splits.test.labels[:, 1])
    assert np.min(batch["space_income"]) == 1.0


def test_the_product_learns_both_tasks(splits):
    recipe = RECIPE.model_copy(update={"batch_size": 50, "epochs": 2, "learning_rate": 0.02})
    best = census_training.train(splits, SMALL, recipe)
    assert min(best["test"]) > 0.95
    assert min(best["validation"]) > 0.95


def test_two_regressions_of_a_vector_are_learnt_in_units_of_their_variance(monkeypatch):
    monkeypatch.setattr(seesaw, "TRAIN", 4000)
    monkeypatch.setattr(seesaw, "VALIDATION", 500)
    monkeypatch.setattr(seesaw, "TEST", 500)
    recipe = seesaw.RECIPE.model_copy(update={"batch_size": 100, "epochs": 3})
    errors = seesaw.train(1.0, "shared_bottom", recipe, seed=1)
    # The mean has an error of 1; equal weights don't make equal tasks, as the sines differ.
    assert len(errors) == 2
    assert max(errors) < 0.5


def test_flops_are_two_a_weight_forwards_and_four_backwards(monkeypatch):
    shape = SHAPE.model_copy(update={"expert_units": (8,), "tower_units": (4,), "levels": 1})
    shape = shape.model_copy(update={"task_experts": 1, "shared_experts": 1})
    monkeypatch.setattr(routing_speed, "SHAPE", shape)
    model = routing_speed.RoutedTowers("ple", 5)
    # 5 inputs: 3 experts of 8, 2 gates over 2; 2 towers of 4.
    assert model.flops_per_example() == 6 * (5 * 3 * 8 + 5 * 2 * 2 + 2 * (8 * 4 + 4))
