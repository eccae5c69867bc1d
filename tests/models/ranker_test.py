import numpy as np
import pytest
import tensorflow as tf

from models.bottom import BOTTOMS
from models.kinds import kind_of
from models.routing import ROUTINGS
from models.training.step import evaluation_function, training_function
from schema.columns import model_columns


def rows(batch, index) -> dict[str, tf.Tensor]:
    return {name: tf.gather(values, index) for name, values in batch.items()}


@pytest.mark.parametrize("bottom", BOTTOMS)
@pytest.mark.parametrize("routing", ROUTINGS)
def test_every_routing_gives_one_probability_a_task_on_every_bottom(build, batch, routing, bottom):
    outputs = build(routing=routing, bottom=bottom)(batch)
    assert list(outputs) == ["click", "completion", "like"]
    for output in outputs.values():
        assert output.shape == (64, 1)
        assert 0.0 < float(tf.reduce_min(output)) <= float(tf.reduce_max(output)) < 1.0


@pytest.mark.parametrize(
    ("routing", "bottom", "compiled"),
    [
        *((name, "plain", "nothing") for name in ROUTINGS),
        ("stem", "dtrn", "nothing"),
        ("ple", "dtrn", "step"),
        ("ple", "dtrn", "head"),
    ],
)
def test_every_routing_learns(build_for_training, batch, routing, bottom, compiled):
    model = build_for_training(compiled, lean=True, routing=routing, bottom=bottom)
    step = training_function(model)
    losses = [float(step(batch)) for _ in range(30)]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("bottom", BOTTOMS)
def test_a_row_is_scored_alone_as_it_is_among_others(build, disturb, batch, bottom):
    model = build(bottom=bottom)
    model(batch)
    disturb(model)
    lengths = tf.reduce_sum(tf.cast(batch["watched_age_s"] >= 0, tf.int32), axis=1)
    assert (int(tf.reduce_min(lengths)), int(tf.reduce_max(lengths))) == (0, 8)
    many = model(batch)
    # One without any history, and one with the longest.
    for index in (int(tf.argmin(lengths)), int(tf.argmax(lengths))):
        for task, output in model(rows(batch, [index])).items():
            assert output.shape == (1, 1)
            np.testing.assert_allclose(output, many[task][index : index + 1], atol=1e-6)


@pytest.mark.parametrize("bottom", BOTTOMS)
@pytest.mark.parametrize("routing", ROUTINGS)
def test_candidates_of_one_user_score_as_the_same_rows_do(build, disturb, spec, batch, routing, bottom):
    model = build(routing=routing, bottom=bottom)
    model(batch)
    disturb(model)
    for count in (0, 1, 64):
        user, written_out = {}, {}
        for column in model_columns(spec):
            values = batch[column.name]
            user[column.name] = values[:1] if column.side == "user" else values[:count]
            written_out[column.name] = tf.repeat(values[:1], count, axis=0) if column.side == "user" else values[:count]
        expected = model(written_out)
        for task, output in model.score_candidates(user).items():
            assert output.shape == (count, 1)
            np.testing.assert_allclose(output, expected[task], atol=1e-5)


@pytest.mark.parametrize("bottom", BOTTOMS)
def test_empty_sequences_and_missing_numbers_are_fine(build_for_training, spec, batch, bottom):
    bare = dict(batch)
    for column in model_columns(spec):
        if column.ragged:
            bare[column.name] = tf.fill(tf.shape(batch[column.name]), tf.cast(-1, batch[column.name].dtype))
        elif kind_of(column).table(column) is None:
            bare[column.name] = tf.fill(tf.shape(batch[column.name]), np.float32(np.nan))
    model = build_for_training(bottom=bottom)
    assert all(np.isfinite(output).all() for output in model(bare).values())
    loss = training_function(model)(bare)
    assert np.isfinite(float(loss))
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize("bottom", BOTTOMS)
def test_what_padded_positions_hold_changes_nothing_to_the_bit(build, disturb, spec, batch, bottom):
    model = build(bottom=bottom)
    model(batch)
    disturb(model)
    expected = model(batch)
    # A negative id or age is what says that a position is padded; an age that is no number says so too.
    for age, number in ((-7.5, 1e6), (np.nan, np.nan)):
        dirty = dict(batch)
        for column in model_columns(spec):
            values = batch[column.name]
            if column.behaviour:
                padded = batch[f"{column.behaviour}_age_s"] < 0
                padded = padded[:, :, tf.newaxis] if values.shape.rank == 3 else padded
                garbage = age if column.name.endswith("_age_s") else number if values.dtype == tf.float32 else 2
                dirty[column.name] = tf.where(padded, tf.cast(garbage, values.dtype), values)
            elif column.ragged:
                dirty[column.name] = tf.where(values < 0, -9, values)
            assert not column.ragged or np.any(dirty[column.name] != values)
        for task, output in model(dirty).items():
            np.testing.assert_array_equal(output, expected[task])


@pytest.mark.parametrize("bottom", BOTTOMS)
def test_wider_padding_changes_nothing(build, disturb, spec, batch, bottom):
    model = build(bottom=bottom)
    model(batch)
    disturb(model)
    ragged = [column.name for column in model_columns(spec) if column.ragged]
    wider = {
        # A sequence of vectors has one axis more.
        name: tf.pad(batch[name], [[0, 0], [0, 12], [0, 0]][: batch[name].shape.rank], constant_values=-1)
        for name in ragged
    }
    expected = model(batch)
    for task, output in model({**batch, **wider}).items():
        # Not to the bit: another length is added up in another order.
        np.testing.assert_allclose(output, expected[task], rtol=0.0, atol=1e-6)


def test_candidate_and_sequences_read_one_table_per_vocabulary(build, batch):
    model = build()
    model(batch)
    tables = [variable.name for variable in model.trainable_variables if variable.name.endswith("_embedding:0")]
    expected = {"user_id", "item_id", "hour", "author", "tag", "length.buckets"}
    assert {name.rsplit("/", 1)[-1].removesuffix("_embedding:0") for name in tables} == expected
    assert len(tables) == len(expected)


def test_ids_that_are_not_embedded_are_not_read(build, batch):
    model = build(embed_ids=())
    without = {name: value for name, value in batch.items() if "user_id" not in name and "item_id" not in name}
    model(without)
    assert not [variable.name for variable in model.variables if "_id_" in variable.name]


def test_single_task_shares_not_even_an_embedding(build, batch):
    model = build(routing="single_task")
    model(batch)
    with tf.GradientTape() as tape:
        output = tf.reduce_sum(model(batch)["click"])
    own_norm, other_norm = (
        sum(
            float(tf.reduce_sum(tf.abs(tf.convert_to_tensor(gradient))))
            for gradient in gradients
            if gradient is not None
        )
        for gradients in tape.gradient(
            output, [encoder.trainable_variables for encoder in (model.encoders[0], model.encoders[1])]
        )
    )
    assert own_norm > 0
    assert other_norm == 0


def test_towers_start_from_the_base_rates(build, batch):
    model = build(bias=[0.0, 1.0, -3.0])
    outputs = model(batch)
    assert np.mean(outputs["like"]) < 0.15 < 0.5 < np.mean(outputs["completion"])


def test_loss_weights_follow_the_epoch(build, batch):
    model = build()
    model(batch)
    first = float(model.compute_loss(batch))
    model.reset_metrics()
    model.epoch.assign(2)
    later = float(model.compute_loss(batch))
    # `like` decays by half an epoch: its loss counts a quarter by now.
    like = model.task_metrics()["like"]["loss"]
    assert first - later == pytest.approx(0.75 * like, rel=1e-4)


def test_examples_outside_every_space_change_neither_loss_nor_metrics(build, batch):
    model = build()
    padded = {name: tf.concat([value, tf.zeros_like(value)], axis=0) for name, value in batch.items()}
    results = []
    for inputs in (batch, padded):
        model.reset_metrics()
        loss = float(model.compute_loss(inputs))
        results.append((loss, model.task_metrics()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    for task, metrics in results[0][1].items():
        assert metrics == pytest.approx(results[1][1][task], rel=1e-5)


def test_every_way_of_compiling_trains_alike(build_for_training, batch):
    losses = []
    for compiled in ("step", "head", "nothing"):
        step = training_function(build_for_training(compiled, lean=True))
        losses.append([float(step(batch)) for _ in range(5)])
    # Rows that no batch has read stay as they are in both: on one batch lazy Adam is Adam.
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    np.testing.assert_allclose(losses[0], losses[2], rtol=1e-3)


def test_evaluation_changes_no_weight(build, batch):
    model = build()
    model(batch)
    before = model.get_weights()
    evaluation_function(model)(batch)
    trained = {variable.ref() for variable in model.trainable_variables}
    for variable, value in zip(model.weights, before, strict=True):
        if variable.ref() in trained:
            np.testing.assert_array_equal(variable, value)


def test_gate_weights_are_readable_where_there_are_gates(build, batch):
    weights = build().gate_weights(batch)
    assert set(weights) == {*(f"level_{level}/task_{k}" for level in (1, 2) for k in range(3)), "level_1/shared"}
    assert build(routing="shared_bottom").gate_weights(batch) == {}


def test_an_unknown_routing_is_refused(build):
    with pytest.raises(ValueError, match="unknown routing 'mystery'"):
        build(routing="mystery")


def test_experts_may_be_counted_by_task(build, batch):
    model = build(task_experts={"click": 1, "like": 3, "completion": 2})
    shapes = {name: value.shape[1] for name, value in model.gate_weights(batch).items()}
    assert [shapes[f"level_2/task_{k}"] for k in range(3)] == [1 + 2, 2 + 2, 3 + 2]
