import numpy as np
import pytest
import tensorflow as tf

from models import noise
from models.noise import TrainingNoise
from schema.modelling import Training
from tests.models.conftest import sizes_of

STEP = [tf.constant([step, 0], tf.int64) for step in range(3)]


@pytest.fixture
def of_training(spec, transformed):
    def noise_of(**training) -> TrainingNoise:
        without = {"dropout": 0.0, "id_mask": 0.0}
        changed = spec.model_copy(update={"training": Training(**(without | training))})
        return TrainingNoise(changed, sizes_of(changed, transformed))

    return noise_of


def test_masked_ids_are_out_of_vocabulary_and_padding_stays(of_training, batch, spec, transformed):
    noisy = of_training(id_mask=0.3, id_mask_features=("author",))
    masked, changed = noisy.mask_ids(batch, STEP[0]), set()
    for name, values in masked.items():
        # A missing number is no number, and not even itself.
        before, after = (np.nan_to_num(column, nan=-9.0) for column in (batch[name], values))
        moved = before != after
        if moved.any():
            changed.add(name)
            rows = sizes_of(spec, transformed)["author" if name.endswith("author") else name[-7:]]
            np.testing.assert_array_equal(after[moved], rows - 2 + before[moved] % 2)
            assert (before[moved] >= 0).all()
    # An example has lost all ids or none, wherever they stand.
    hidden = (masked["user_id"] != batch["user_id"]).numpy()
    assert 0 < hidden.sum() < len(hidden)
    for name in changed:
        moved = (masked[name] != batch[name]).numpy().reshape(len(hidden), -1)
        assert (moved == (hidden[:, np.newaxis] & (batch[name].numpy().reshape(len(hidden), -1) >= 0))).all(), name
    # The ids of users and items and those of the feature, of candidates and in sequences; no others.
    assert changed == {f"{where}{name}" for where in ("", "watched_", "liked_") for name in ("item_id", "author")} | {
        "user_id"
    }


def test_as_many_ids_are_masked_as_the_spec_says(of_training):
    features = {"user_id": tf.zeros([20_000], tf.int32)}
    noisy = of_training(id_mask=0.3)
    noisy.first_buckets = {"user_id": 5}
    masked = noisy.mask_ids(features, STEP[0])["user_id"].numpy() == 5
    assert masked.mean() == pytest.approx(0.3, abs=0.02)


def test_an_embedding_is_dropped_whole_and_the_rest_scaled(of_training, batch):
    values = {"author": tf.ones([4000, 3]), "price": tf.ones([4000, 2])}
    dropped = of_training(embedding_dropout=0.2).drop_embeddings(values, batch, "encoder", STEP[0])
    author = dropped["author"].numpy()
    assert set(map(tuple, author.tolist())) == {(0.0,) * 3, (1.25,) * 3}
    assert (author[:, 0] == 0).mean() == pytest.approx(0.2, abs=0.03)
    # A number is no embedding.
    assert dropped["price"] is values["price"]


def test_inputs_lose_single_numbers(of_training):
    noisy = of_training(dropout=0.5)
    x = tf.ones([300, 40])
    dropped = noisy.drop_inputs(x, "towers", STEP[0]).numpy()
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert dropped.mean() == pytest.approx(1.0, abs=0.05)
    first, second = noisy.drop_inputs([x, x], "towers", STEP[0])
    assert (first.numpy() != second.numpy()).mean() == pytest.approx(0.5, abs=0.05)
    assert noisy.drop_inputs(x, "towers", None) is x


def test_what_is_hidden_follows_from_seed_step_and_place(of_training):
    def draws(seed: int, name: str, step: int) -> list:
        return of_training(dropout=0.5, seed=seed)._stays(0.5, [64], name, STEP[step]).numpy().tolist()

    assert draws(1, "a", 0) == draws(1, "a", 0)
    different = [draws(1, "a", 0), draws(1, "a", 1), draws(1, "b", 0), draws(2, "a", 0)]
    assert len({tuple(row) for row in different}) == 4


def test_draws_are_the_published_finaliser_of_spread_numbers():
    def finalised(state: int) -> int:
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            state = (state ^ state >> shift) * factor % 2**32
        return state ^ state >> 16

    numbers, key = [0, 1, 2, 70_000, 2**31], 12345
    draws = noise._scattered(tf.constant(numbers, tf.uint32), tf.constant(key, tf.uint32))
    assert draws.numpy().tolist() == [finalised((number * 0x9E3779B9 + key) % 2**32) for number in numbers]


def test_what_is_hidden_in_one_place_says_nothing_of_another(of_training):
    noisy = of_training(dropout=0.5)
    stays = [noisy._stays(0.5, [500, 400], "x", moment).numpy().astype(float) - 0.5 for moment in STEP[:2]]
    first = stays[0]
    pairs = {"next row": (first[1:], first[:-1]), "next position": (first[:, 1:], first[:, :-1]), "next step": stays}
    pairs["two of each"] = (first[2:, 2:] * first[:-2, :-2], first[2:, :-2] * first[:-2, 2:])
    for name, (a, b) in pairs.items():
        # Of 200,000 draws the deviation is .0022.
        assert abs(np.mean(a * b) / np.sqrt(np.mean(a * a) * np.mean(b * b))) < 0.01, name


def test_draws_do_not_depend_on_padding_or_on_how_replicas_share_the_batch(of_training, monkeypatch):
    noisy = of_training(dropout=0.5)
    together = noisy._stays(0.4, [6, 5], "x", STEP[1]).numpy()
    np.testing.assert_array_equal(noisy._stays(0.4, [6, 9], "x", STEP[1])[:, :5], together)
    monkeypatch.setattr(noise, "replica_count", lambda: 3)
    parts = [noisy._stays(0.4, [2, 5], "x", tf.constant([1, replica], tf.int64)) for replica in range(3)]
    np.testing.assert_array_equal(np.concatenate(parts), together)


def test_without_any_noise_there_is_no_moment(of_training):
    assert of_training().moment(tf.constant(3)) is None
    assert of_training(dropout=0.1).moment(tf.constant(3)).numpy().tolist() == [3, 0]
