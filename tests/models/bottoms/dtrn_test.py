import numpy as np
import pytest
import tensorflow as tf

from models.bottoms.plain import PlainBottom


def test_each_task_has_its_own_representation(build, disturb, batch):
    model = build(bottom="dtrn")
    alike = model.encode(batch)
    for representation in alike[1:]:
        np.testing.assert_allclose(alike[0], representation, atol=1e-5)
    disturb(model)
    first, second, _ = model.encode(batch)
    assert np.abs(first - second).max() > 1e-2


@pytest.mark.parametrize("block", ["parallel", "sequential"])
def test_at_first_each_task_reads_what_a_plain_transformer_gives(build, disturb, plain_transformer, spec, batch, block):
    dtrn = spec.model.dtrn.model_copy(update={"block": block, "heads": 2})
    model = build(bottom="dtrn", dtrn=dtrn)
    model(batch)
    disturb(model)
    (encoder,) = model.encoders
    interest = encoder.interest
    # As they start, which is what `disturb` has changed.
    for start in (interest.hypernetwork.last, encoder.refinement.last):
        start.set_weights([np.zeros_like(weight) for weight in start.get_weights()])
    values = encoder.embeddings(batch)
    candidate = [values[name] for name in ("item_id", "author", "length", "price", "topic", "embedding")]
    query = interest.projection(tf.concat([*candidate, tf.zeros([64, 1])], axis=1)[:, tf.newaxis])
    expected = [PlainBottom.combine(encoder, batch, values)]
    for j, behaviour in enumerate(("watched", "liked")):
        ages = batch[f"{behaviour}_age_s"]
        contents = [
            values[f"{behaviour}_{name}"] for name in ("item_id", "author", "length", "price", "topic", "embedding")
        ]
        x = interest.projection(tf.concat([*contents, ages[..., tf.newaxis]], axis=-1))
        read = plain_transformer(interest.transformer, x, ages >= 0, query)[:, 0]
        there = tf.reduce_any(ages >= 0, axis=1, keepdims=True)
        assert set(there.numpy().ravel()) == {True, False}
        expected.append(tf.where(there, read, interest.empty[j]))
    for representation in encoder(batch):
        np.testing.assert_allclose(representation, tf.concat(expected, axis=-1), rtol=1e-5, atol=1e-5)


def test_behaviours_that_dtrn_is_not_given_are_pooled(build, spec, batch):
    chosen = spec.model.dtrn.model_copy(update={"behaviours": ("liked",)})
    model = build(bottom="dtrn", dtrn=chosen)
    model(batch)
    (encoder,) = model.encoders
    assert set(encoder.pooling) == {"tags", "watched"}
    assert encoder.interest.behaviours == 1


@pytest.mark.parametrize(("refinement", "refine"), [("none", "element"), ("sigmoid", "field"), ("linear", "element")])
def test_how_dtrn_refines_is_configured(build, spec, batch, refinement, refine):
    dtrn = spec.model.dtrn.model_copy(update={"refinement": refinement, "refine": refine, "block": "sequential"})
    model = build(bottom="dtrn", dtrn=dtrn)
    model(batch)
    weights = model.refinement_weights(batch)
    if refinement == "none":
        assert weights == {}
    else:
        assert set(weights) == {"click", "completion", "like"}
        fields = {"user_id", "author", "watched (history)", "liked (interest)"}
        assert fields < set(weights["like"])
        start = 0.5 if refinement == "sigmoid" else 1.0
        np.testing.assert_allclose(list(weights["like"].values()), start)
