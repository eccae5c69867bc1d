import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.layers import RepresentationRefinement, TaskInterest, UserItemRows

SEQUENCES = [tf.random.stateless_normal([4, length, 3], seed=(length, 2)) for length in (5, 2)]
MASKS = [tf.sequence_mask([5, 3, 1, 0], 5), tf.sequence_mask([2, 0, 1, 2], 2)]
QUERY = tf.random.stateless_normal([4, 1, 3], seed=(7, 8))


def built(**more) -> TaskInterest:
    tf.keras.utils.set_random_seed(1)
    interest = TaskInterest(tasks=3, behaviours=2, units=8, feed_forward=16, **more)
    interest(SEQUENCES, MASKS, QUERY)
    return interest


def trained(interest: TaskInterest) -> TaskInterest:
    """With conditions that tell tasks and behaviours apart."""
    last = interest.hypernetwork.last.kernels[0]
    last.assign(tf.random.stateless_normal(last.shape, seed=(5, 6)))
    interest.empty.assign(tf.random.stateless_normal(interest.empty.shape, seed=(1, 1)))
    return interest


def test_at_first_every_task_reads_what_the_plain_transformer_does():
    interest = built()
    first, *others = interest(SEQUENCES, MASKS, QUERY)
    ones = tf.ones([interest.transformer.norms, 1, 8])
    for j in range(2):
        x = interest.projection(SEQUENCES[j])
        plain = interest.transformer(x, MASKS[j], interest.projection(QUERY), ones, 0.0 * ones)[0]
        there = tf.reduce_any(MASKS[j], axis=1)
        np.testing.assert_allclose(first[there][..., 8 * j : 8 * j + 8], plain[there], atol=1e-6)
    for output in others:
        np.testing.assert_allclose(first, output, atol=1e-6)


def test_tasks_read_differently_once_their_conditions_differ():
    first, second, _ = trained(built())(SEQUENCES, MASKS, QUERY)
    assert first.shape == (4, 1, 16)
    assert np.abs(first - second).max() > 0.1


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("block", ["parallel", "sequential"])
def test_each_task_reads_as_a_plain_transformer_whose_norms_are_its_own_would(plain_transformer, block, compiled):
    """Outputs, and gradients by sequences and queries, once conditions tell tasks and behaviours apart."""
    interest = trained(built(heads=2, layers=2, block=block))
    inputs = [*SEQUENCES, QUERY]
    weights = [tf.random.stateless_normal([4, 1, 16], seed=(11, i)) for i in range(3)]

    def differentiated(read):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            reads = read(inputs[:2], inputs[2])
            loss = tf.add_n([tf.reduce_sum(of_task * weight) for of_task, weight in zip(reads, weights, strict=True)])
        return reads, tape.gradient(loss, inputs)

    def plain(sequences, query):
        norms = interest.transformer.layer_norms
        learned = [norm.get_weights() for norm in norms]
        scale, shift = interest.hypernetwork(interest.task_embedding, interest.behaviour_embedding)
        reads = []
        for i in range(3):
            of_task = []
            for j in range(2):
                for n, (norm, (gamma, beta)) in enumerate(zip(norms, learned, strict=True)):
                    norm.set_weights([scale[n, i, j] * gamma, shift[n, i, j] + beta])
                x, q = interest.projection(sequences[j]), interest.projection(query)
                out = plain_transformer(interest.transformer, x, MASKS[j], q)
                there = tf.reduce_any(MASKS[j], axis=1)[:, tf.newaxis, tf.newaxis]
                of_task.append(tf.where(there, out, interest.empty[j]))
            reads.append(tf.concat(of_task, axis=-1))
        return reads

    reads, gradients = differentiated(
        tf.function(lambda sequences, query: interest(sequences, MASKS, query), jit_compile=compiled)
    )
    expected_reads, expected_gradients = differentiated(plain)
    for read, expected in zip(reads, expected_reads, strict=True):
        np.testing.assert_allclose(read, expected, rtol=1e-5, atol=1e-5)
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_an_empty_sequence_gives_the_learned_vector_of_its_behaviour():
    interest = built()
    interest.empty.assign([[1.0] * 8, [2.0] * 8])
    for read in interest(SEQUENCES, MASKS, QUERY):
        np.testing.assert_array_equal(read[3, 0, :8], [1.0] * 8)
        np.testing.assert_array_equal(read[1, 0, 8:], [2.0] * 8)


def test_an_empty_sequence_has_finite_gradients_and_trains_its_vector():
    interest = trained(built())
    empty = [tf.zeros_like(mask) for mask in MASKS]
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(tf.square(read)) for read in interest(SEQUENCES, empty, QUERY)])
    variables = interest.trainable_variables
    gradients = dict(zip([variable.ref() for variable in variables], tape.gradient(loss, variables), strict=True))
    assert all(np.isfinite(gradient).all() for gradient in gradients.values() if gradient is not None)
    assert np.any(gradients[interest.empty.ref()])


@pytest.fixture(scope="module")
def interest() -> TaskInterest:
    return trained(built())


@settings(max_examples=8, deadline=None)
@given(garbage=st.floats(width=32))
def test_what_a_padded_position_holds_changes_nothing_to_the_bit(interest, garbage):
    dirty = [tf.where(mask[:, :, None], x, garbage) for x, mask in zip(SEQUENCES, MASKS, strict=True)]
    for a, b in zip(interest(SEQUENCES, MASKS, QUERY), interest(dirty, MASKS, QUERY), strict=True):
        np.testing.assert_array_equal(a, b)


def test_longer_padding_changes_nothing():
    interest = trained(built())
    longer = [tf.pad(x, [[0, 0], [0, 9], [0, 0]], constant_values=3.0) for x in SEQUENCES]
    masks = [tf.pad(mask, [[0, 0], [0, 9]]) for mask in MASKS]
    for a, b in zip(interest(SEQUENCES, MASKS, QUERY), interest(longer, masks, QUERY), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_one_users_sequence_serves_all_candidates():
    interest = trained(built(heads=2))
    candidates = tf.random.stateless_normal([1, 6, 3], seed=(9, 9))
    single_user = [x[1:2] for x in SEQUENCES], [mask[1:2] for mask in MASKS]
    repeated = (
        [tf.repeat(x, 6, axis=0) for x in single_user[0]],
        [tf.repeat(mask, 6, axis=0) for mask in single_user[1]],
    )
    for a, b in zip(interest(*single_user, candidates), interest(*repeated, candidates[0][:, None]), strict=True):
        np.testing.assert_allclose(a[0], b[:, 0], atol=1e-5)


@pytest.mark.parametrize("batch", [0, 1])
def test_any_batch_size_works(batch):
    reads = built()([x[:batch] for x in SEQUENCES], [mask[:batch] for mask in MASKS], QUERY[:batch])
    assert [read.shape for read in reads] == [(batch, 1, 16)] * 3


def test_another_number_of_sequences_is_refused():
    with pytest.raises(ValueError, match="sequences: expected 2 and as many masks, got 1 sequences and 2 masks"):
        built()(SEQUENCES[:1], MASKS, QUERY)


def test_a_task_multiplies_its_input_by_what_its_perceptron_says():
    refinement = RepresentationRefinement(tasks=2, reduction=2, weights="linear")
    inputs = [tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 4.0]]), tf.constant([[5.0, 6.0]])]
    refinement(inputs)
    refinement.hidden.kernels[0].assign([[[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, -1.0]]] * 2)
    refinement.last.kernels[0].assign([[[0.0, 1.0, 0.0, 2.0], [9.0] * 4], [[0.5, 0.0, 0.0, 0.0], [9.0] * 4]])
    first, second = refinement(inputs)
    # hidden: 1 + 3 = 4 and relu(-4) = 0; weights 1, 1 + 4, 1, 1 + 8
    np.testing.assert_allclose(first, [[1.0, 10.0, 3.0, 36.0]])
    # hidden: 1 + 5 = 6 and 0; weights 1 + 3, 1, 1, 1
    np.testing.assert_allclose(second, [[4.0, 2.0, 5.0, 6.0]])


def test_a_field_may_have_one_weight():
    refinement = RepresentationRefinement(tasks=1, fields=(2, 1), weights="linear")
    inputs = [tf.constant([[1.0, 2.0]]), tf.constant([[3.0]])]
    refinement(inputs)
    refinement.last.biases[0].assign([[[1.0, 2.0]]])
    np.testing.assert_allclose(refinement(inputs)[0], [[2.0, 4.0, 9.0]])
    np.testing.assert_allclose(refinement.refinement_weights(inputs)[0], [[2.0, 2.0, 3.0]])


@pytest.mark.parametrize(("weights", "start"), [("double_sigmoid", 1.0), ("linear", 1.0), ("sigmoid", 0.5)])
def test_refinement_starts_from_one_weight_for_all(weights, start):
    refinement = RepresentationRefinement(tasks=2, weights=weights)
    first, second = refinement([tf.ones([3, 2]), tf.ones([3, 1]), 2.0 * tf.ones([3, 1])])
    np.testing.assert_allclose(first, start * np.ones([3, 3]))
    np.testing.assert_allclose(second, start * np.array([[1.0, 1.0, 2.0]] * 3))


@pytest.mark.parametrize("count", [0, 1, 4])
def test_rows_that_begin_alike_are_refined_as_they_are_written_out(count):
    refinement = RepresentationRefinement(tasks=2, reduction=1)
    rows = UserItemRows(tf.random.normal([1, 3]), tf.random.normal([count, 2]))
    interests = [tf.random.normal([count, 2]) for _ in range(2)]
    refinement([rows.materialize(), *interests])
    refinement.last.kernels[0].assign(tf.random.normal(refinement.last.kernels[0].shape))
    for a, b in zip(refinement([rows, *interests]), refinement([rows.materialize(), *interests]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "softmax"}, "weights: expected one of double_sigmoid, linear, sigmoid, got 'softmax'"),
        ({"fields": (2, 2)}, r"fields: expected sizes that add up to 3, got \(2, 2\)"),
        ({"reduction": 0}, "reduction: expected an integer of at least 1, got 0"),
        ({"tasks": 2}, "inputs: expected a list of 3 .shared, then one per task., got 2"),
    ],
)
def test_wrong_refinements_are_named_with_the_value_received(arguments, message):
    with pytest.raises(ValueError, match=message):
        RepresentationRefinement(**{"tasks": 1, **arguments})([tf.ones([1, 2]), tf.ones([1, 1])])
