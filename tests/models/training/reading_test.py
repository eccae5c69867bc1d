import numpy as np
import pytest
import tensorflow as tf

from models.training import reading
from models.training.reading import LabelSummary, TrainingDataError


@pytest.fixture(scope="module")
def records(transformed):
    return reading.serialized_examples(reading.example_files([transformed.examples["train"]], "train"))


def column(dataset, name) -> np.ndarray:
    return np.concatenate([batch[name].numpy() for batch in dataset])


def test_batches_are_of_one_size_and_the_last_is_filled_with_examples_outside_every_space(spec, records):
    sizes = [batch["user_id"].shape[0] for batch in reading.batches(records, spec, 64)]
    assert sizes == [64] * 5
    spaces = column(reading.batches(records, spec, 64), "space_click")
    assert spaces.sum() == 300
    np.testing.assert_array_equal(spaces[300:], np.zeros(20))


def test_a_batch_larger_than_the_split_is_filled_too(spec, records):
    assert [batch["space_click"].shape[0] for batch in reading.batches(records, spec, 512)] == [512]


def test_the_order_depends_on_the_seed_alone(spec, records, transformed):
    first, again, reseeded = (column(reading.batches(records, spec, 64, seed), "followers") for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, reseeded, equal_nan=True)
    fresh = reading.serialized_examples(reading.example_files([transformed.examples["train"]], "train"))
    np.testing.assert_array_equal(first, column(reading.batches(fresh, spec, 64, 5), "followers"))


# A buffer that every example fits in; smaller ones, which end before, within or after the split.
@pytest.mark.parametrize(("buffer", "scanned"), [(1 << 18, 4096), (40, 64), (280, 7), (1, 64)])
@pytest.mark.parametrize("batch_size", [32, 512])
def test_the_first_shuffled_batch_is_found_without_shuffling(spec, records, monkeypatch, buffer, scanned, batch_size):
    monkeypatch.setattr(reading, "SHUFFLE_BUFFER", buffer)
    monkeypatch.setattr(reading, "SCANNED", scanned)
    expected = next(iter(reading.batches(records, spec, batch_size, 7)))
    batch = reading.first_shuffled_batch(records, spec, batch_size, 7)
    assert batch.keys() == expected.keys()
    for name, values in batch.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_shuffling_loses_and_repeats_nothing(spec, records):
    plain, shuffled = (column(reading.batches(records, spec, 50, seed), "watched_age_s") for seed in (None, 3))
    np.testing.assert_array_equal(np.sort(plain, axis=None), np.sort(shuffled, axis=None))
    assert not np.array_equal(plain, shuffled)


def test_shapes_are_static_so_that_one_function_is_compiled(spec, records):
    for name, tensor in reading.batches(records, spec, 64, 1).element_spec.items():
        assert tensor.shape[0] == 64
        assert tensor.shape.rank == 1 or name == "tags" or tensor.shape.is_fully_defined()


def test_labels_are_summarised_in_their_sample_space(spec, records, transformed):
    examples, labels = reading.label_summaries(records, spec, "train")
    raw = [tf.train.Example.FromString(record).features.feature for record in transformed.raw["train"]]
    value = lambda name: np.array([features[name].float_list.value[0] for features in raw])  # noqa: E731
    assert examples == 300
    for task in ("click", "completion", "like"):
        inside = value(f"label_{task}")[value(f"space_{task}") > 0]
        assert labels[task].count == len(inside)
        assert labels[task].mean == pytest.approx(inside.mean(), rel=1e-5)
        assert (labels[task].low, labels[task].high) == pytest.approx((inside.min(), inside.max()))


def test_a_label_of_one_class_and_an_empty_space_are_told():
    summaries = {
        "a": LabelSummary(9, 0.0, 0.0, 0.0),
        "b": LabelSummary(0, 0.0, np.inf, -np.inf),
        "c": LabelSummary(9, 0.5, 0.0, 1.0),
    }
    assert reading.check_labels(summaries, "train") == [
        "task 'a' has only labels of 0 in the train split (9 examples)",
        "task 'b' has no example in its sample space in the train split",
    ]


def test_a_split_without_files_or_examples_is_told(spec, tmp_path):
    with pytest.raises(TrainingDataError, match="the eval split has no files: nothing matches"):
        reading.example_files([str(tmp_path / "*")], "eval")
    with tf.io.TFRecordWriter(str(tmp_path / "empty.gz"), "GZIP"):
        pass
    records = reading.serialized_examples(reading.example_files([str(tmp_path / "*")], "eval"))
    with pytest.raises(TrainingDataError, match="the eval split is empty"):
        reading.label_summaries(records, spec, "eval")
