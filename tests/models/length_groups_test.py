"""Sequences in groups of similar length give what padded ones do: positions, outputs, gradients, noise."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from models.features import PADDING
from models.length_groups import GROUPS, SequenceLengths, cut, examples_by_group, joined, length_groups, masks
from models.training import reading
from models.training.build import build_ranker
from schema.modelling import RankingLoss

BATCH = 50


@pytest.fixture(scope="module")
def records(transformed):
    return reading.serialized_examples(reading.example_files([transformed.examples["train"]], "train"))


def drawn_fit(groups, counts, together):
    """Returns whether each of 200 batches of 1024, whose examples come in so many of one length, fits into groups."""
    random = np.random.default_rng(1)
    firsts = list(itertools.accumulate((group.rows for group in groups[:-1]), initial=0))
    widths = [group.width for group in groups]
    drawn = random.choice(len(counts), (200, 1024 // together), p=np.array(counts) / sum(counts))
    descending = -np.sort(-np.repeat(drawn, together, axis=1))
    return np.all(descending[:, firsts] <= widths, axis=1)


# Half are empty, a few long.
COUNTS = (500, 300, 100, 50, 30, *[1] * 20)


def test_groups_cover_the_batch_and_hold_what_is_drawn():
    groups = length_groups(SequenceLengths("watched", COUNTS, COUNTS), 1024)
    assert sum(group.rows for group in groups) == 1024
    assert 1 < len(groups) <= GROUPS
    widths = [group.width for group in groups]
    assert widths == sorted(widths, reverse=True)
    assert (widths[0], widths[-1]) == (24, 1)
    assert sum(group.rows * group.width for group in groups) < 0.15 * 1024 * 24
    assert all(drawn_fit(groups, COUNTS, 1))
    assert not all(drawn_fit(groups, COUNTS, 8))


@pytest.mark.parametrize("together", [8, 32])
def test_groups_hold_examples_that_come_together(together):
    groups = length_groups(SequenceLengths("watched", COUNTS, tuple(together * count for count in COUNTS)), 1024)
    assert all(drawn_fit(groups, COUNTS, together))
    assert sum(group.rows * group.width for group in groups) < 0.4 * 1024 * 24


def test_widths_are_bernsteins():
    # 1 of 16 is of 2, the others of 1; of 32 at a time n = 2 are longer than 1, which come 3 together:
    # 2 + sqrt(2 * 10 * 2 * 3) + 10 * 3 / 3 = 22.95, so the first 23 are 2 wide.
    groups = length_groups(SequenceLengths("watched", (0, 15, 1), (0, 15, 3)), 32)
    assert groups == ((23, 2), (9, 1))


@pytest.mark.parametrize("counts", [(9,), (0, 9), (0, 0, 0, 9)], ids=["empty", "of one", "of three"])
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_sequences_of_one_length_are_one_group(counts, batch):
    assert length_groups(SequenceLengths("watched", counts, counts), batch) == ((batch, max(len(counts) - 1, 0)),)


# As the examples are; as if all were empty, so that no batch fits in.
@pytest.mark.parametrize("expected", [True, False])
def test_grouped_batches_hold_the_positions_of_padded_ones(spec, records, expected):
    lengths = reading.sequence_lengths(records, spec)
    if not expected:
        empty = [(300.0, *[0.0] * (len(of.examples) - 1)) for of in lengths]
        lengths = tuple(of._replace(examples=none, pairs=none) for of, none in zip(lengths, empty, strict=True))
    padded_batches = reading.batches(records, spec, BATCH, 3)
    grouped_batches = reading.batches(records, spec, BATCH, 3, lengths=lengths)
    for padded, grouped in zip(padded_batches, grouped_batches, strict=True):
        for name in ("watched", "liked"):
            groups = masks(name, grouped)
            examples = examples_by_group(name, grouped, tf.range(BATCH))
            np.testing.assert_array_equal(joined(name, grouped, examples), np.arange(BATCH))
            for column in (f"{name}_item_id", f"{name}_age_s", f"{name}_price", f"{name}_embedding"):
                for mask, rows, values in zip(groups, examples, cut(grouped[column], groups), strict=True):
                    padded_values = padded[column].numpy()[rows]
                    np.testing.assert_array_equal(values, padded_values[:, : mask.shape[1]], err_msg=column)
                    assert np.all(padded_values[:, mask.shape[1] :] == PADDING)
                    np.testing.assert_array_equal(mask, padded[f"{name}_age_s"].numpy()[rows, : mask.shape[1]] >= 0)


@pytest.mark.parametrize("ranking_loss", [None, RankingLoss(kind="pairwise", weight=1.0)], ids=["alone", "in a group"])
def test_lengths_are_counted(spec, records, ranking_loss):
    spec = spec.with_training(ranking_loss=ranking_loss)
    (batch,) = reading.batches(records, spec, 300)
    # Without a group of their own all 300 are of one, which comes in 9 pieces of 32 and one of 12.
    together = (9 * 32**2 + 12**2) / 300 if ranking_loss else 1.0
    for name, examples, pairs in reading.sequence_lengths(records, spec):
        sizes = np.sum(batch[f"{name}_age_s"].numpy() >= 0, axis=1)
        counts = np.bincount(sizes, minlength=batch[f"{name}_age_s"].shape[1] + 1)
        np.testing.assert_array_equal(examples, counts)
        np.testing.assert_allclose(pairs, together * counts)


@pytest.mark.parametrize(
    ("routing", "bottom", "noise"),
    [("ple", "plain", 0.0), ("stem", "plain", 0.3), ("ple", "din", 0.0), ("ple", "dtrn", 0.3)],
)
def test_a_ranker_has_the_same_loss_and_gradients_either_way(
    spec, records, transformed, routing, bottom, noise, disturb
):
    hidden = {"id_mask": noise, "embedding_dropout": noise, "id_mask_features": ("topic",)}
    model = spec.model.model_copy(update={"routing": routing, "bottom": bottom})
    spec = spec.model_copy(update={"model": model, "training": spec.training.model_copy(update=hidden)})
    model = build_ranker(spec, transformed.output)
    disturb(model)
    lengths = reading.sequence_lengths(records, spec)
    padded = next(iter(reading.batches(records, spec, BATCH, 3)))
    grouped = next(iter(reading.batches(records, spec, BATCH, 3, lengths=lengths)))
    assert len(masks("watched", grouped)) > 1
    gradients = []
    for batch in (padded, grouped):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(batch, training=True)
        by_variable = tape.gradient(loss, model.trainable_variables, unconnected_gradients="zero")
        gradients.append([loss, *map(tf.convert_to_tensor, by_variable)])
    for of_padded, of_grouped in zip(*gradients, strict=True):
        np.testing.assert_allclose(of_grouped, of_padded, rtol=1e-4, atol=1e-6)
