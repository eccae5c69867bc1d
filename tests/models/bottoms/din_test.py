import numpy as np
import tensorflow as tf

from models.bottoms.plain import PlainBottom
from models.layers import UserItemRows
from schema.columns import model_columns

CONTENTS = ("item_id", "author", "length", "price", "topic", "embedding")


def test_each_behaviour_is_seen_from_the_candidate(build, disturb, batch):
    model = build(bottom="din")
    model(batch)
    disturb(model)
    (encoder,) = model.encoders
    values = encoder.embeddings(batch)
    query = tf.concat([*(values[name] for name in CONTENTS), tf.zeros([64, 1])], axis=1)
    expected = [PlainBottom.combine(encoder, batch, values)]
    for attention, behaviour in zip(encoder.attentions, ("watched", "liked"), strict=True):
        ages = batch[f"{behaviour}_age_s"]
        keys = tf.concat([*(values[f"{behaviour}_{name}"] for name in CONTENTS), ages[..., tf.newaxis]], axis=-1)
        expected.append(attention(keys, ages >= 0, query))
    np.testing.assert_allclose(encoder(batch), tf.concat(expected, axis=-1), atol=1e-5)
    assert set(encoder.pooling) == {"tags"}


def test_behaviours_that_din_is_not_given_are_pooled(build, spec, batch):
    chosen = spec.model.din.model_copy(update={"behaviours": ("liked",), "units": (3, 2)})
    model = build(bottom="din", din=chosen)
    model(batch)
    (encoder,) = model.encoders
    assert set(encoder.pooling) == {"tags", "watched"}
    (attention,) = encoder.attentions
    assert attention.units == (3, 2)


def test_of_one_users_candidates_only_the_items_part_is_repeated(build, batch):
    model = build(bottom="din")
    model(batch)
    (encoder,) = model.encoders
    sides = {column.name: column.side for column in model_columns(model.spec)}
    user = {name: batch[name][:1] if side == "user" else batch[name] for name, side in sides.items()}
    rows = encoder.encode_candidates(user)
    assert isinstance(rows, UserItemRows)
    assert (rows.user.shape[0], rows.items.shape[0]) == (1, 64)
