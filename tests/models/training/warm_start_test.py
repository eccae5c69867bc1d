import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from models.export import signatures
from models.trainer import run_fn
from models.training import reading
from models.training.build import build_ranker
from models.training.warm_start import BaseModelError, moved_rows, warm_start


def test_a_value_keeps_its_row_where_the_new_vocabulary_has_it():
    rows = np.array([[1.0], [2.0], [3.0], [90.0], [91.0]])
    initial = np.array([[-1.0], [-2.0], [-3.0], [-4.0], [-5.0], [-6.0]])
    moved = moved_rows(rows, [b"a", b"b", b"c"], [b"c", b"new", b"a", b"newer"], initial)
    np.testing.assert_array_equal(moved, [[3], [-2], [1], [-4], [90], [91]])
    np.testing.assert_array_equal(initial[0], [-1])


@pytest.fixture(scope="module")
def trained(spec, trainer_arguments, tmp_path_factory) -> Path:
    """Trained for an epoch."""
    directory = tmp_path_factory.mktemp("trained")
    training = spec.training.model_copy(update={"epochs": 1})
    short = spec.model_copy(update={"training": training})
    run_fn(FnArgs(**trainer_arguments(short, directory)))
    return directory / "model"


def test_a_ranker_that_starts_from_a_model_scores_as_it_does(spec, transformed, trained):
    transform = tft.TFTransformOutput(transformed.graph)
    records = reading.serialized_examples(reading.example_files([transformed.examples["eval"]], "eval"))
    (batch,) = reading.batches(records, spec, 100)
    fresh = build_ranker(spec, transform)
    before = fresh(batch)
    warm_start(fresh, transform, str(trained))
    after = fresh(batch)

    serve = tf.saved_model.load(str(trained)).signatures["serving_default"]
    served = serve(tf.constant(np.array(transformed.raw["eval"], dtype=object)))
    for task in spec.tasks:
        expected = np.sort(served[task.name].numpy().ravel())
        np.testing.assert_allclose(np.sort(after[task.name].numpy().ravel()), expected, atol=1e-5)
        assert abs(np.sort(before[task.name].numpy().ravel()) - expected).max() > 1e-2


@pytest.mark.parametrize(
    ("settings", "before", "after"),
    [
        ({"routing": "stem"}, "none", "uncertainty"),
        ({"routing": "single_task"}, "uncertainty", "none"),
        ({"bottom": "dtrn"}, "uncertainty", "uncertainty"),
    ],
)
def test_it_starts_with_several_tables_a_vocabulary_and_whatever_balances_the_losses(
    spec, transformed_for, batch, disturb, tmp_path, settings, before, after
):
    # Fewer columns, for time's sake.
    lean = spec.model_copy(update={"features": (), "behaviours": spec.behaviours[:1]})
    lean = lean.model_copy(update={"model": spec.model.model_copy(update=settings)})
    transform = transformed_for(lean).output

    def ranker(balancing: str):
        training = spec.training.model_copy(update={"loss_balancing": balancing})
        return build_ranker(lean.model_copy(update={"training": training}), transform)

    base, fresh = ranker(before), ranker(after)
    disturb(base)
    signatures.save(base, transform, str(tmp_path))
    warm_start(fresh, transform, str(tmp_path))
    for task, expected in base(batch).items():
        np.testing.assert_allclose(fresh(batch)[task], expected, atol=1e-6)
    if fresh.uncertainty:
        np.testing.assert_array_equal(fresh.uncertainty.log_variances, np.zeros(len(spec.tasks)))


def test_embeddings_follow_their_values_into_another_vocabulary(spec, transformed, trained, tmp_path):
    """The earlier model's vocabulary had other places for the values, and one that is gone."""
    transform, earlier = tft.TFTransformOutput(transformed.graph), tmp_path / "model"
    shutil.copytree(trained, earlier)
    terms = (earlier / "assets" / "user_id").read_bytes().splitlines()
    before = [*reversed(terms[1:]), b"gone"]
    (earlier / "assets" / "user_id").write_bytes(b"".join(term + b"\n" for term in before))

    def users(model) -> np.ndarray:
        (table,) = (table.numpy() for table in model.embedding_tables() if "user_id" in table.name)
        return table

    same, moved, fresh = (build_ranker(spec, transform) for _ in range(3))
    warm_start(same, transform, str(trained))
    warm_start(moved, transform, str(earlier))
    assert list(transform.vocabulary_by_name("user_id")) == terms
    rows, moved_table, initial = users(same), users(moved), users(fresh)
    for row, term in enumerate(terms):
        expected = rows[before.index(term)] if term in before else initial[row]
        np.testing.assert_array_equal(moved_table[row], expected)
    # The out-of-vocabulary buckets stay.
    np.testing.assert_array_equal(moved_table[len(terms) :], rows[len(terms) :])


def test_a_model_of_another_shape_is_refused(spec, transformed, trained):
    wider = spec.model_copy(update={"model": spec.model.model_copy(update={"tower_units": (5,)})})
    transform = tft.TFTransformOutput(transformed.graph)
    with pytest.raises(BaseModelError, match=r"its `model\.tower_units` differ: expected \(5,\), got \(4,\)"):
        warm_start(build_ranker(wider, transform), transform, str(trained))


def test_auto_starts_from_ple_whose_weights_it_shares(spec, transformed, trained):
    auto = spec.model_copy(update={"model": spec.model.model_copy(update={"routing": "auto"})})
    transform = tft.TFTransformOutput(transformed.graph)
    started, expected = build_ranker(auto, transform), build_ranker(spec, transform)
    for model in (started, expected):
        warm_start(model, transform, str(trained))
    for variable, value in zip(started.trainable_variables, expected.trainable_variables, strict=True):
        np.testing.assert_array_equal(variable, value)
