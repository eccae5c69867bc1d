import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.ranker import Ranker
from models.training import optimizer
from models.training.build import build_ranker
from models.training.optimizer import LazyAdam, choose_jit, is_kernel, uses_sparse_updates
from models.training.progress import Progress, ProgressStore
from models.training.step import training_function


def test_lazy_adam_moves_only_the_rows_that_were_read():
    table = tf.Variable(tf.ones([4, 2]))
    optimizer = LazyAdam(0.1)
    for _ in range(2):
        gradient = tf.IndexedSlices(tf.ones([3, 2]), tf.constant([1, 3, 1]), dense_shape=tf.constant([4, 2]))
        optimizer.apply_gradients([(gradient, table)])
    # Adam's first steps are of size lr, whatever the gradient's: 1 and 3 moved twice by 0.1
    np.testing.assert_allclose(table, [[1.0, 1.0], [0.8, 0.8], [1.0, 1.0], [0.8, 0.8]], rtol=1e-4)


def test_weight_decay_takes_its_share_of_kernels_alone():
    kernel, bias = (tf.Variable([2.0], name=name) for name in ("layer/kernel_0", "layer/bias_0"))
    plain, plain_kernel = LazyAdam(0.1), tf.Variable([2.0], name="layer/kernel_0")
    decayed = LazyAdam(0.1, weight_decay=0.5)
    for gradient in (0.3, -0.2):
        before = float(kernel[0])
        plain_before = float(plain_kernel[0])
        plain.apply_gradients([(tf.constant([gradient]), plain_kernel)])
        decayed.apply_gradients([(tf.constant([gradient]), kernel), (tf.constant([gradient]), bias)])
        # w - r (Adam's step) - r * decay * w, as AdamW has it
        step = plain_before - float(plain_kernel[0])
        assert float(kernel[0]) == pytest.approx(before - step - 0.1 * 0.5 * before, rel=1e-5)
        assert float(bias[0]) == pytest.approx(float(plain_kernel[0]), rel=1e-6)


def test_a_kernel_is_told_by_its_name(build, batch):
    model = build(lean=True, bottom="dtrn", routing="mmoe")
    model(batch)
    names = {variable.name: is_kernel(variable) for variable in model.trainable_variables}
    assert any(name.endswith("networks/kernel_0:0") for name in names)
    assert not any(decays for name, decays in names.items() if "bias" in name or "embedding" in name)
    assert all(decays for name, decays in names.items() if "kernel" in name)
    assert not is_kernel(tf.Variable(0.0, name="kernel_embedding"))


def test_the_rates_of_network_and_tables_fall_together(spec, transformed, batch):
    model = trained(spec, transformed, batch, steps=0, embedding_optimizer="adagrad", schedule="linear", warmup=0.5)
    assert [optimizer.lr.schedule for optimizer in model.optimizer.optimizers] == ["linear"] * 2


def test_large_tables_are_updated_by_rows_unless_the_spec_says_otherwise(spec):
    def chosen(rows: int, **update) -> bool:
        return uses_sparse_updates(spec.training.model_copy(update=update), {"a": rows}, 16)

    assert not chosen(1_000)
    assert chosen(1_000_000)
    assert not chosen(1_000_000, embedding_optimizer="adam")
    assert chosen(1_000, embedding_optimizer="lazy_adam")
    assert chosen(1_000, embedding_optimizer="adagrad")


def test_what_xla_cant_do_stays_out_of_it_and_short_trainings_are_not_compiled():
    assert choose_jit(sparse_tables=False, steps=10_000) == "step"
    assert choose_jit(sparse_tables=False, steps=10) == "nothing"
    assert choose_jit(sparse_tables=True, steps=10_000) == "head"
    assert choose_jit(sparse_tables=False, steps=10_000, replicas=2) == "head"


def test_a_process_that_may_map_no_more_code_trains_uncompiled_and_says_so(spec, transformed, monkeypatch, caplog):
    monkeypatch.setattr(optimizer, "MAPPINGS_TO_COMPILE", 0)
    assert build_ranker(spec, transformed.output, steps=10_000).compiled == "step"
    assert "XLA" not in caplog.text
    monkeypatch.setattr(optimizer, "MAPPINGS_TO_COMPILE", 10**9)
    assert build_ranker(spec, transformed.output, steps=10_000).compiled == "nothing"
    assert "XLA compiles no more" in caplog.text


def test_a_step_that_is_compiled_whole_has_no_sparse_tables(spec):
    with pytest.raises(ValueError, match="compiled: got 'step', expected 'head' or 'nothing'"):
        Ranker(spec, {}, compiled="step", sparse_tables=True)


def trained(spec, transformed, batch, steps: int = 3, **training) -> Ranker:
    # Smaller, for time's sake.
    lean = {"features": (), "behaviours": (), "model": spec.model.model_copy(update={"routing": "shared_bottom"})}
    spec = spec.model_copy(update={**lean, "training": spec.training.model_copy(update=training)})
    model = build_ranker(spec, transformed.output)
    step = training_function(model)
    for _ in range(steps):
        step(batch)
    return model


def test_adagrad_is_the_tables_alone_and_moves_the_rows_that_were_read(spec, transformed, batch):
    before = trained(spec, transformed, batch, steps=0, embedding_optimizer="adagrad")
    after = trained(spec, transformed, batch, embedding_optimizer="adagrad", embedding_learning_rate=0.1)
    assert isinstance(after.optimizer, tfrs.experimental.optimizers.CompositeOptimizer)
    of_network, of_tables = after.optimizer.optimizers
    assert isinstance(of_tables, tf.keras.optimizers.legacy.Adagrad)
    assert (float(of_network.lr), float(of_tables.lr)) == pytest.approx((spec.training.learning_rate, 0.1))
    # One number beside each of a table, two beside each of the network, and each one's counter of steps.
    assert len(of_tables.weights) == len(after.embedding_tables()) + 1
    assert len(of_network.weights) == 2 * len(after.network_variables()) + 1
    assert int(after.optimizer.iterations) == 3

    (start,), (table,) = (
        [table.numpy() for table in model.embedding_tables() if "user_id" in table.name] for model in (before, after)
    )
    read = np.unique(batch["user_id"])
    moved = np.flatnonzero((start != table).any(axis=1))
    np.testing.assert_array_equal(moved, read)


def test_adagrads_step_is_the_textbooks():
    table = tf.Variable(tf.ones([3, 2]))
    optimizer = tf.keras.optimizers.legacy.Adagrad(0.5, initial_accumulator_value=0.1, epsilon=0.0)
    for _ in range(2):
        gradient = tf.IndexedSlices(tf.fill([2, 2], 0.3), tf.constant([1, 1]), dense_shape=tf.constant([3, 2]))
        optimizer.apply_gradients([(gradient, table)])
    # A row that a batch reads twice has the sum of its gradients: 0.6
    expected = 1 - 0.5 * 0.6 / np.sqrt(0.1 + 0.36) - 0.5 * 0.6 / np.sqrt(0.1 + 2 * 0.36)
    np.testing.assert_allclose(table, [[1, 1], [expected, expected], [1, 1]], rtol=1e-5)


@pytest.mark.parametrize("kind", ["adagrad", "lazy_adam"])
def test_tables_learn_by_rows(spec, transformed, batch, kind):
    rate = {"embedding_learning_rate": 0.1} if kind == "adagrad" else {}
    model = trained(spec, transformed, batch, steps=30, embedding_optimizer=kind, **rate)
    untrained = trained(spec, transformed, batch, steps=0)
    before, after = (sum(map(float, ranker.task_losses(batch))) for ranker in (untrained, model))
    assert after < 0.9 * before


def test_tables_may_have_a_rate_of_their_own(spec, transformed, batch):
    still = trained(spec, transformed, batch, embedding_learning_rate=1e-12)
    start = trained(spec, transformed, batch, steps=0)
    for mine, theirs in zip(still.embedding_tables(), start.embedding_tables(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)
    assert any(
        np.abs(mine - theirs).max() > 1e-2
        for mine, theirs in zip(still.network_variables(), start.network_variables(), strict=True)
    )


def test_both_optimisers_go_on_from_a_checkpoint(spec, transformed, batch, tmp_path):
    first = trained(spec, transformed, batch, steps=2, embedding_optimizer="adagrad")
    progress = Progress()
    progress.add({}, 1.0)
    ProgressStore.of(str(tmp_path), first).save(progress)
    resumed = trained(spec, transformed, batch, steps=0, embedding_optimizer="adagrad")
    assert ProgressStore.of(str(tmp_path), resumed).load().done == 1
    for model in (first, resumed):
        step = training_function(model)
        for _ in range(2):
            step(batch)
        assert int(model.optimizer.iterations) == 4
    for mine, theirs in zip(resumed.trainable_variables, first.trainable_variables, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
