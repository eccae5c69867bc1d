"""`model.products`: the inner products of embeddings, pair by pair, beside what each bottom reads."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from models.bottom import BOTTOMS
from models.training.step import training_function
from schema.columns import model_columns

# The embedded columns of the spec, as they follow one another.
USER = ["user_id", "hour"]
ITEM = ["item_id", "author", "length", "topic", "tags"]


def test_the_users_own_are_the_users_and_all_others_the_candidates(build, disturb, batch):
    model = build(products=True)
    model(batch)
    disturb(model)
    (bottom,) = model.encoders
    values = bottom.embeddings(batch)
    vectors = {name: values[name] for name in USER + ITEM}
    vectors["tags"] = bottom.pooling["tags"](values["tags"], batch["tags"] >= 0)
    pairs = [*itertools.combinations(ITEM, 2), *itertools.product(ITEM, USER)]
    parts = dict(zip(("user", "item"), bottom.fields(batch, values), strict=True))
    for side, expected in (("user", [tuple(USER)]), ("item", pairs)):
        products = [np.sum(vectors[left] * vectors[right], axis=1) for left, right in expected]
        assert len(products) == bottom.product_count(side)
        np.testing.assert_allclose(parts[side][f"{side} (products)"], np.stack(products, axis=1), atol=1e-6)


def test_without_them_there_is_no_such_field(build, batch):
    (bottom,) = build().encoders
    assert (bottom.product_count("user"), bottom.product_count("item")) == (0, 0)
    assert not [
        name for fields in bottom.fields(batch, bottom.embeddings(batch)) for name in fields if "products" in name
    ]


@pytest.mark.parametrize(("ids", "products"), [(("user_id", "item_id"), 1), (("item_id",), 0)])
def test_an_embedding_alone_has_none(build, batch, ids, products):
    model = build(lean=True, products=True, embed_ids=ids)
    model(batch)
    (bottom,) = model.encoders
    assert (bottom.product_count("user"), bottom.product_count("item")) == (0, products)


@pytest.mark.parametrize("routing", ["ple", "single_task"])
@pytest.mark.parametrize("bottom", BOTTOMS)
def test_candidates_of_one_user_score_as_the_same_rows_do(build, disturb, spec, batch, bottom, routing):
    model = build(bottom=bottom, routing=routing, products=True)
    model(batch)
    disturb(model)
    for count in (0, 64):
        user, written_out = {}, {}
        for column in model_columns(spec):
            values = batch[column.name]
            of_user = column.side == "user"
            user[column.name] = values[:1] if of_user else values[:count]
            written_out[column.name] = tf.repeat(values[:1], count, axis=0) if of_user else values[:count]
        expected = model(written_out)
        for task, output in model.score_candidates(user).items():
            np.testing.assert_allclose(output, expected[task], atol=1e-5)


@pytest.mark.parametrize("compiled", ["nothing", "step", "head"])
def test_a_ranker_learns_with_them_under_xla_too(build_for_training, batch, compiled):
    step = training_function(build_for_training(compiled, lean=True, products=True))
    losses = [float(step(batch)) for _ in range(30)]
    assert losses[-1] < 0.9 * losses[0]


def test_dtrn_weighs_them_as_fields(build, batch, spec):
    model = build(bottom="dtrn", products=True, dtrn=spec.model.dtrn.model_copy(update={"refine": "field"}))
    model(batch)
    (bottom,) = model.encoders
    inputs, weights = bottom.combine_with_weights(batch, bottom.embeddings(batch))
    assert {"user (products)", "item (products)"} <= set(weights[0])
    assert inputs[0].shape[-1] == sum(bottom._field_sizes().values())
