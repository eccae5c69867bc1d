import bz2
import gzip
import zipfile

import numpy as np
import polars as pl
import pytest

from benchmarks import census_data
from benchmarks.census_data import CATEGORICAL, COLUMNS, NUMERIC, TASKS
from benchmarks.data_sets import CENSUS_SPEC
from schema.loading import load_spec


def line(**fields) -> str:
    usual = {"income_50k": "- 50000.", "marital_stat": "Widowed", **dict.fromkeys(NUMERIC, "0")}
    values = {**usual, **{key: str(value) for key, value in fields.items()}}
    return ", ".join(values.get(column, "same") for column in COLUMNS) + "\n"


@pytest.fixture
def lines() -> tuple[str, str]:
    train = [line(age=age, sex="F" if age % 2 else "M") for age in range(10)]
    train += [line(age=1, sex="rare"), line(age=1, income_50k="50000+.", marital_stat="Never married")]
    test = [line(age=0, sex="M"), line(age=99, sex="F"), line(age=9, sex="rare"), line(age=9, sex="unseen")]
    return "".join(train), "".join(test)


@pytest.fixture
def directory(lines, tmp_path):
    (tmp_path / "census-income.data.bz2").write_bytes(bz2.compress(lines[0].encode()))
    (tmp_path / "census-income.test.gz").write_bytes(gzip.compress(lines[1].encode()))
    return tmp_path


def test_the_test_file_is_halved_into_validation_and_test(directory):
    dataset = census_data.load(directory)
    assert [len(rows) for rows in (dataset.train, dataset.validation, dataset.test)] == [12, 2, 2]
    np.testing.assert_array_equal(dataset.train.labels[-1], [1.0, 1.0])
    assert dataset.train.labels[:-1].sum() == 0


def test_values_that_are_rare_or_unknown_in_train_share_a_row(directory):
    dataset = census_data.load(directory)
    train, first, (rare, unknown) = (rows.columns["sex"] for rows in (dataset.train, dataset.validation, dataset.test))
    assert unknown == rare == train[10]
    assert len({*first, rare}) == 3


def test_each_column_of_ids_is_within_its_size(directory):
    dataset = census_data.load(directory, buckets=4)
    assert [*dataset.sizes] == [*CATEGORICAL, *(f"{name}_buckets" for name in NUMERIC)]
    for rows in (dataset.train, dataset.validation, dataset.test):
        for name, size in dataset.sizes.items():
            assert rows.columns[name].min() >= 0
            assert rows.columns[name].max() < size


def test_numbers_are_scaled_by_the_train_rows_alone(directory):
    dataset = census_data.load(directory)
    age = np.log1p([*range(10), 1, 1])
    np.testing.assert_allclose(dataset.train.columns["age_scaled"], (age - age.mean()) / age.std(), rtol=1e-5)
    np.testing.assert_allclose(
        dataset.validation.columns["age_scaled"][1], (np.log1p(99) - age.mean()) / age.std(), rtol=1e-5
    )


def test_buckets_are_in_the_order_of_the_numbers_and_equally_full(directory):
    dataset = census_data.load(directory, buckets=4)
    ids = dataset.train.columns["age_buckets"]
    # The quantiles of 0, 2, .., 9 are 0, 3, 6, 9; 1, the most frequent, begins a bucket too.
    np.testing.assert_array_equal(ids - ids[0], [0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 1, 1])


def test_a_zip_holds_the_same(directory, lines, tmp_path):
    path = tmp_path / "census.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("census/census-income.data", lines[0])
        archive.write(directory / "census-income.test.gz", "census/census-income.test.gz")
    ours, theirs = census_data.load(path), census_data.load(directory)
    np.testing.assert_array_equal(ours.train.columns["age_scaled"], theirs.train.columns["age_scaled"])
    np.testing.assert_array_equal(ours.test.labels, theirs.test.labels)


def test_the_log_has_the_rows_in_the_files_order_and_the_columns_of_its_spec(directory, tmp_path):
    log = tmp_path / "people.parquet"
    census_data.write_log(directory, log)
    rows = pl.read_parquet(log)
    assert rows["row"].to_list() == rows["person"].to_list() == list(range(16))
    assert rows["age"].to_list() == [*range(10), 1, 1, 0, 99, 9, 9]
    assert [rows[task].to_list() for task in TASKS] == [[0.0] * 11 + [1.0] + [0.0] * 4] * 2
    spec = load_spec(CENSUS_SPEC)
    assert {feature.column or feature.name for feature in spec.features} == {*CATEGORICAL, *NUMERIC} <= {*rows.columns}
    assert [task.name for task in spec.tasks] == [*TASKS]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected census-income\.data"):
        census_data.load(tmp_path)
