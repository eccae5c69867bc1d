"""A missing number is NaN; anywhere else, NaN is a mistake, and infinity always is."""

import shutil

import numpy as np
import pytest

from schema.served import SPEC_FILE
from schema.spec import RankingSpec
from serving.model.errors import ServingError
from serving.model.predict import Limits, predict
from serving.model.saved_model import SavedModel, may_be_nan

SPEC = RankingSpec.model_validate(
    {
        "name": "toy",
        "log": {"layout": "impressions", "files": "*.csv", "user": "u", "item": "i", "timestamp": {"column": "t"}},
        "items": {"files": "items.csv", "key": "i"},
        "features": [{"name": "price", "source": "items", "kind": "numeric"}],
        "tasks": [{"name": "like", "column": "like"}],
    }
)


@pytest.fixture
def model(base_path, toys):
    """The toy with a ranking spec, in which `price` is a number and `weights` is nothing."""
    shutil.copytree(toys(1), base_path / "1")
    spec = base_path / "1" / SPEC_FILE
    spec.parent.mkdir(exist_ok=True)
    spec.write_text(SPEC.to_json())
    model = SavedModel(base_path / "1")
    yield model
    model.close()


def ranked(model: SavedModel, price: float) -> float:
    inputs = {"user": np.array([b"u"], object), "item": np.array([b"pear"], object), "price": np.float32([price])}
    return predict(model, model.signatures["rank"], inputs, (), Limits())["score"].item()


def test_nan_is_a_missing_number_in_a_numeric_feature_of_the_models_spec(model):
    assert model.may_be_nan == {"price"}
    assert np.isnan(ranked(model, np.nan))


@pytest.mark.parametrize("price", [np.inf, -np.inf])
def test_an_infinite_number_is_refused_by_name(model, price):
    with pytest.raises(ServingError, match=r"'price': holds -?inf; expected finite numbers, or NaN for a missing one"):
        ranked(model, price)


def test_of_a_specs_columns_vectors_statistics_and_their_sequences_may_be_missing(tmp_path):
    vector = {"name": "embedding", "source": "items", "kind": "vector", "size": 2}
    more = {"features": [vector], "behaviours": [{"name": "liked", "column": "like"}], "statistics": {"by": ["item"]}}
    spec = RankingSpec.model_validate({**SPEC.model_dump(exclude_defaults=True), **more})
    (tmp_path / SPEC_FILE).parent.mkdir()
    (tmp_path / SPEC_FILE).write_text(spec.to_json())
    assert may_be_nan(tmp_path) == {"embedding", "liked_embedding", "item_statistics"}


def test_nan_is_refused_where_no_number_of_the_spec_may_be_missing(model):
    inputs = {"x": np.float32([1.0]), "weights": np.float32([np.nan, 1.0])}
    with pytest.raises(ServingError, match="'weights': holds nan; expected finite numbers"):
        predict(model, model.signatures["weighted"], inputs, (), Limits())


def test_a_spec_that_this_release_does_not_read_says_of_no_number_that_it_may_be_missing(base_path, toys):
    shutil.copytree(toys(1), base_path / "1")
    (base_path / "1" / SPEC_FILE.parent).mkdir(exist_ok=True)
    (base_path / "1" / SPEC_FILE).write_text('{"name": "from the future", "tasks": "all"}')
    model = SavedModel(base_path / "1")
    assert model.may_be_nan == frozenset()
    model.close()
