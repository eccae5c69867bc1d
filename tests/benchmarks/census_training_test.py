import numpy as np
import pytest

from benchmarks.census import RECIPE, SHAPE
from benchmarks.census_data import NUMERIC, Dataset
from benchmarks.census_training import Vocabularies, census_spec, train, write_split
from benchmarks.compact import Rows
from models.training import reading


def rows(count: int) -> Rows:
    """Two columns of three and four values; the first decides the first label, a number the second."""
    random = np.random.default_rng(count)
    ids = np.stack([random.integers(0, 3, count), 3 + random.integers(0, 4, count)], axis=1).astype(np.int32)
    numbers = random.normal(size=(count, len(NUMERIC))).astype(np.float32)
    return Rows(ids, numbers, np.stack([ids[:, 0] == 2, numbers[:, 0] > 0], axis=1).astype(np.float32))


@pytest.fixture
def dataset() -> Dataset:
    return Dataset(rows(1500), rows(300), rows(400), ("race", "sex"), (3, 4))


def test_what_is_written_is_what_the_ranker_reads(dataset, tmp_path):
    spec = census_spec(dataset, SHAPE, RECIPE)
    write_split(dataset, dataset.test, spec, tmp_path / "test.gz")
    records = reading.serialized_examples([str(tmp_path / "test.gz")])
    (batch,) = reading.batches(records, spec, len(dataset.test))
    np.testing.assert_array_equal(batch["race"], dataset.test.ids[:, 0])
    np.testing.assert_array_equal(batch["sex"], dataset.test.ids[:, 1] - 3)
    np.testing.assert_array_equal(batch[f"{NUMERIC[-1]}_scaled"], dataset.test.numbers[:, -1])
    np.testing.assert_array_equal(batch["label_never_married"], dataset.test.labels[:, 1])
    assert np.min(batch["space_income"]) == 1.0
    assert Vocabularies(dataset).vocabulary_size_by_name("sex") == 4


def test_the_product_learns_both_tasks(dataset):
    shape = SHAPE.model_copy(update={"routing": "shared_bottom", "expert_units": (16,)})
    best = train(dataset, shape, RECIPE.model_copy(update={"batch_size": 50, "epochs": 2, "learning_rate": 0.02}))
    assert min(best["test"]) > 0.95
    assert min(best["validation"]) > 0.95
