import numpy as np
import pytest
import tensorflow as tf

from models.features import MIN_WIDTH, dense, table_sizes, transformed_feature_spec
from models.kinds import kind_of
from schema.columns import example_columns, model_columns
from schema.spec import RankingSpec

NAN = float("nan")


def example(spec: RankingSpec, **column_values) -> bytes:
    """An example with the given values; strings default to "", numbers to 0, lists to nothing."""
    message = tf.train.Example()
    for column in example_columns(spec):
        default = [] if column.ragged else [""] if column.dtype == "string" else [0] * (column.width or 1)
        values = column_values.get(column.name, default)
        feature = message.features.feature[column.name]
        if column.dtype == "string":
            feature.bytes_list.value.extend(value.encode() for value in values)
        elif column.dtype == "float":
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return message.SerializeToString()


@pytest.fixture(scope="module")
def by_hand(spec, transform_examples, tmp_path_factory):
    """Four train examples, and one to score that is longer and stranger."""
    train = [
        example(
            spec, user_id=["a"], item_id=["x"], topic=["news"], tags=["sport"], activity=[1.0], embedding=[1, 5, 2]
        ),
        example(
            spec, user_id=["a"], item_id=["x"], topic=["sport"], tags=["sport"], activity=[3.0], embedding=[3, 5, 0]
        ),
        example(
            spec,
            user_id=["b"],
            item_id=["y"],
            topic=["news"],
            activity=[NAN],
            followers=[NAN],
            length=[10],
            embedding=[NAN] * 3,
        ),
        example(
            spec,
            user_id=["a"],
            item_id=["x"],
            topic=["film"],
            activity=[2.0],
            followers=[np.e - 1],
            length=[20],
            embedding=[2, 5, 1],
        ),
    ]
    probe = example(
        spec,
        user_id=["a"],
        item_id=["unknown"],
        topic=["sport"],
        tags=["news", "film"],
        activity=[NAN],
        length=[NAN],
        watched_item_id=[*"yyxxxxxxxx"],
        watched_age_s=[9e6, 8e6, 7e6, 6e6, 5e6, 4e6, 3e6, 2e6, 86_400.0, 0.0],
        watched_length=[0.0] * 9 + [NAN],
        watched_price=[0.0] * 10,
        watched_author=[""] * 10,
        watched_topic=["sport"] * 10,
        # The newest eight stay: 2 to 8, and a missing one.
        watched_embedding=[x for k in range(9) for x in (k, 5, k)] + [NAN] * 3,
        label_click=[1.0],
        space_click=[1.0],
    )
    return transform_examples(spec, {"train": train, "eval": [probe]}, tmp_path_factory.mktemp("by_hand"))


@pytest.fixture(scope="module")
def graph(by_hand):
    return by_hand.output


def transformed_examples(spec, pattern: str) -> dict:
    records = tf.data.TFRecordDataset(tf.io.gfile.glob(pattern), compression_type="GZIP").batch(10).get_single_element()
    return tf.io.parse_example(records, transformed_feature_spec(spec))


def test_one_vocabulary_holds_what_all_its_candidate_columns_hold(graph):
    # news 2 and sport 3 times over `topic` and `tags`; film once, which is less than min_frequency
    assert graph.vocabulary_by_name("tag") == [b"sport", b"news"]


def test_rare_ids_and_ids_of_sequences_alone_share_the_out_of_vocabulary_buckets(spec, by_hand):
    assert by_hand.output.vocabulary_by_name("item_id") == [b"x"]
    rows = transformed_examples(spec, by_hand.examples["eval"])
    assert int(rows["item_id"][0]) in (1, 2)
    np.testing.assert_array_equal(rows["watched_item_id"][0], [0] * 8)


def test_candidate_and_sequence_share_ids(spec, by_hand):
    rows = transformed_examples(spec, by_hand.examples["eval"])
    assert int(rows["topic"][0]) == 0
    np.testing.assert_array_equal(rows["watched_topic"][0], [0] * 8)


def test_a_sequence_keeps_its_newest_positions(spec, by_hand):
    ages = transformed_examples(spec, by_hand.examples["eval"])["watched_age_s"][0]
    assert ages.shape == (8,)
    np.testing.assert_allclose(ages[-2:], [1.0, 0.0], rtol=1e-6)


def test_numbers_are_scaled_by_what_is_there_and_missing_ones_stay_missing(spec, by_hand):
    rows = transformed_examples(spec, by_hand.examples["train"])
    # 1, 3, 2: mean 2, variance 2/3
    expected = np.array([-1.0, 1.0, NAN, 0.0]) / np.sqrt(2.0 / 3.0)
    np.testing.assert_allclose(np.sort(rows["activity"].numpy()), np.sort(expected), rtol=1e-5)
    # log1p: 0, 0, 1: mean 1/3, variance 2/9
    expected = (np.array([0.0, 0.0, NAN, 1.0]) - 1 / 3) / np.sqrt(2.0 / 9.0)
    np.testing.assert_allclose(np.sort(rows["followers"].numpy()), np.sort(expected), rtol=1e-5)


def test_a_vector_is_scaled_place_by_place_and_says_last_whether_it_is_missing(spec, by_hand):
    rows = transformed_examples(spec, by_hand.examples["train"])["embedding"].numpy()
    # 1, 3, 2 and 2, 0, 1: variances 2/3; the second place is the same everywhere
    unit = 1 / np.sqrt(2.0 / 3.0)
    expected = [[-unit, 0, unit, 0], [0, 0, 0, 0], [0, 0, 0, 1], [unit, 0, -unit, 0]]
    np.testing.assert_allclose(sorted(rows.tolist()), expected, rtol=1e-5)


def test_a_sequence_keeps_the_vectors_of_its_newest_positions_in_their_order(spec, by_hand):
    rows = transformed_examples(spec, by_hand.examples["eval"])
    vectors = dense(rows, spec)["watched_embedding"].numpy()
    newest = np.arange(2, 9)
    unit = 1 / np.sqrt(2.0 / 3.0)
    expected = np.stack([(newest - 2) * unit, np.zeros(7), (newest - 1) * unit, np.zeros(7)], axis=1)
    np.testing.assert_allclose(vectors[0], [*expected, [0, 0, 0, 1]], rtol=1e-5)
    # No behaviour is padding from the first position on.
    assert dense(rows, spec)["liked_embedding"].numpy().tolist() == [[[-1.0] * 4] * 4]


def test_a_constant_number_scales_to_zero(spec, by_hand):
    np.testing.assert_array_equal(transformed_examples(spec, by_hand.examples["train"])["price"], np.zeros(4))


def test_buckets_count_from_one_and_zero_is_missing(spec, by_hand):
    train = transformed_examples(spec, by_hand.examples["train"])["length"].numpy()
    assert train.min() >= 1
    assert train.max() <= 4
    rows = transformed_examples(spec, by_hand.examples["eval"])
    assert int(rows["length"][0]) == 0
    assert int(rows["watched_length"][0][-1]) == 0


def test_labels_and_spaces_pass_through(spec, by_hand):
    rows = transformed_examples(spec, by_hand.examples["eval"])
    assert [float(rows[name][0]) for name in ("label_click", "space_click", "space_like")] == [1.0, 1.0, 0.0]


def test_every_id_has_its_row_in_its_table(spec, transformed):
    names = {column.vocabulary for column in model_columns(spec) if column.vocabulary}
    sizes = table_sizes(spec, {name: transformed.output.vocabulary_size_by_name(name) for name in names})
    rows = dense(transformed_examples_all(spec, transformed.examples["train"]), spec)
    for column in model_columns(spec):
        if (table := kind_of(column).table(column)) is not None:
            assert int(tf.reduce_max(rows[column.name])) < sizes[table]
            assert int(tf.reduce_min(rows[column.name])) >= (-1 if column.ragged else 0)


def transformed_examples_all(spec, pattern: str) -> dict:
    files = tf.io.gfile.glob(pattern)
    records = list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())
    return tf.io.parse_example(tf.constant(records), transformed_feature_spec(spec))


def test_dense_pads_on_the_right_with_what_no_id_and_no_age_is(spec):
    ragged = {column.name for column in model_columns(spec) if column.ragged}
    features = {}
    for column in model_columns(spec):
        dtype = kind_of(column).dtype
        size = column.model_width or 1
        values = tf.ragged.constant([[3] * size, []], dtype) if column.name in ragged else tf.zeros([2], dtype)
        features[column.name] = values
    padded = dense(features, spec)
    np.testing.assert_array_equal(padded["liked_item_id"], [[3, -1, -1, -1], [-1] * 4])
    assert padded["watched_age_s"].shape == (2, 8)
    np.testing.assert_array_equal(padded["tags"], [[3, *[-1] * (MIN_WIDTH - 1)], [-1] * MIN_WIDTH])
    assert padded["item_id"].dtype == tf.int32


@pytest.mark.parametrize(("longest", "width"), [(0, 16), (5, 16), (16, 16), (17, 32), (33, 64)])
def test_multi_valued_features_are_padded_to_a_power_of_two(spec, longest, width):
    features = {
        column.name: tf.ragged.constant([[1] * longest * (column.model_width or 1)], tf.int64)
        if column.ragged
        else tf.zeros([1], tf.int64)
        for column in model_columns(spec)
    }
    assert dense(features, spec)["tags"].shape == (1, width)
