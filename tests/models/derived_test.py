"""Crosses and look-ups by hand: what Transform makes of them, and that a served request needs none of them."""

import numpy as np
import pytest
import tensorflow as tf

from evaluation.importance import inputs_of
from models.derived import derive
from models.export import signatures
from models.export.evening import even
from models.export.requests import examples, user_and_candidates
from models.features import placeholders, transformed_feature_spec
from models.training.build import build_ranker
from schema.columns import MISSING, example_columns, input_columns
from schema.derived import CROSSED
from schema.spec import RankingSpec
from serving.requests import Row, columns_of_rows, predict_request, rank_request, write_record

NAN = float("nan")


@pytest.fixture(scope="module")
def crossed() -> RankingSpec:
    return RankingSpec.model_validate(
        {
            "name": "crossed",
            "log": {
                "layout": "impressions",
                "files": "*.csv",
                "user": "u",
                "item": "i",
                "timestamp": {"column": "t"},
                "missing": ["none"],
            },
            "users": {"files": "users.csv", "key": "u"},
            "items": {"files": "items.csv", "key": "i", "missing": ["NULL", "-1"]},
            "features": [
                {"name": "tab", "source": "log", "kind": "categorical"},
                {"name": "country", "source": "users", "kind": "categorical"},
                {"name": "tastes", "source": "users", "kind": "map"},
                {"name": "shops", "source": "users", "kind": "map", "values": "categorical"},
                {"name": "langs", "source": "users", "kind": "multi", "strip": True},
                {"name": "topic", "source": "items", "kind": "categorical"},
                {"name": "length", "source": "items", "kind": "numeric", "scale": "buckets", "buckets": 2},
            ],
            "derive": [
                {"name": "country_x_topic", "cross": ["country", "topic"]},
                {"name": "topic_x_length", "cross": ["topic", "length"]},
                {"name": "tab_x_country", "cross": ["tab", "country"]},
                {"name": "taste", "look_up": {"map": "tastes", "key": "topic"}},
                {"name": "shop", "look_up": {"map": "shops", "key": "topic"}},
            ],
            "behaviours": [{"name": "liked", "column": "like", "max_length": 4}],
            "tasks": [{"name": "like", "column": "like"}],
            "model": {
                "min_frequency": 1,
                "oov_buckets": 1,
                "embedding_dim": 4,
                "expert_units": [4],
                "tower_units": [4],
                "levels": 1,
            },
        }
    )


def row(country: str, topic: str, length: float, tastes: list[str], shops: list[str], **more) -> Row:
    texts = {
        "user_id": "7",
        "item_id": "3",
        "tab": "home",
        "country": country,
        "topic": topic,
        "tastes": tastes,
        "shops": shops,
        "langs": ["en"],
        "liked_item_id": ["3"],
        "liked_topic": ["film"],
        **more,
    }
    encoded = {
        name: [text.encode() for text in value] if isinstance(value, list) else value.encode()
        for name, value in texts.items()
    }
    return {**encoded, "length": length, "timestamp": 1, "liked_age_s": [1.0], "liked_length": [1.0]}


ROWS = [
    row("de", "film", 1.0, ["film=0.5", "news=2.5"], ["film=kino"]),
    row("de", "news", 2.0, ["film=0.5", "news=2.5"], ["film=kino"]),
    row("fr", "film", 3.0, [], []),
    row("fr", MISSING, NAN, ["film=1"], ["=a", "b"]),
    row("fr", "film", 4.0, ["film=1.5"], ["news=a=b", "film=c=d"]),
]


@pytest.fixture(scope="module")
def transformed(crossed, transform_examples, tmp_path_factory):
    train = []
    for number, example in enumerate(ROWS):
        message = tf.train.Example.FromString(write_record(crossed, example))
        message.features.feature["label_like"].float_list.value.append(number % 2)
        message.features.feature["space_like"].float_list.value.append(1.0)
        train.append(message.SerializeToString())
    return transform_examples(crossed, {"train": train, "eval": train}, tmp_path_factory.mktemp("crossed"))


@pytest.fixture(scope="module")
def served(crossed, transformed, disturb, tmp_path_factory):
    ranker = build_ranker(crossed, transformed.output)
    ranker(placeholders(crossed))
    disturb(ranker)
    directory = str(tmp_path_factory.mktemp("crossed_model"))
    signatures.save(ranker, transformed.output, directory)
    return tf.saved_model.load(directory).signatures


def test_a_cross_has_an_id_for_each_pair_of_values_in_train(transformed):
    terms = transformed.output.vocabulary_by_name("country_x_topic")
    pairs = ["de", "film"], ["de", "news"], ["fr", "film"], ["fr", MISSING]
    assert set(terms) == {CROSSED.join(pair).encode() for pair in pairs}
    assert terms[0] == CROSSED.join(["fr", "film"]).encode()  # twice, the others once


def test_a_bucketised_number_is_crossed_by_its_bucket(transformed):
    # The quantiles of 1, 2, 3, 4 cut below 3; a missing number's bucket is 0.
    pairs = ["film", "1"], ["news", "1"], ["film", "2"], [MISSING, "0"]
    assert set(transformed.output.vocabulary_by_name("topic_x_length")) == {
        CROSSED.join(pair).encode() for pair in pairs
    }


def test_a_number_is_looked_up_and_scaled_and_missing_without_the_key(crossed, transformed):
    records = tf.data.TFRecordDataset(tf.io.gfile.glob(transformed.examples["train"]), "GZIP").batch(9)
    examples = tf.io.parse_example(records.get_single_element(), transformed_feature_spec(crossed))
    # .5, 2.5 and 1.5: their mean is 1.5, their variance 2/3
    expected = np.array([-1.0, 1.0, 0.0, NAN, NAN]) / np.sqrt(2 / 3)
    np.testing.assert_allclose(np.sort(examples["taste"]), np.sort(expected), rtol=1e-5)


def test_a_category_is_looked_up_behind_the_first_sign_and_missing_without_the_key(transformed):
    terms = transformed.output.vocabulary_by_name("shop")
    assert terms[0] == MISSING.encode()
    assert set(terms[1:]) == {b"kino", b"c=d"}


def looked_up(crossed, topics: list[str], **maps) -> dict[str, np.ndarray]:
    count = len(topics)
    inputs = {
        "country": tf.constant(["de"]),
        "tab": tf.constant(["home"]),
        "topic": tf.constant(topics, tf.string),
        "length": tf.ones([count]),
        "tastes": tf.ragged.constant(maps.get("tastes", [[]]), dtype=tf.string, ragged_rank=1),
        "shops": tf.ragged.constant(maps.get("shops", [[]]), dtype=tf.string, ragged_rank=1),
    }
    transformed = {"length": tf.cast(inputs["length"], tf.int64)}
    return {name: values.numpy() for name, values in derive(inputs, transformed, crossed).items()}


def test_one_users_values_meet_those_of_all_candidates(crossed):
    derived = looked_up(crossed, ["news", "film", "art", ""], tastes=[["film=1e-3", "film=7", "news=-2"]])
    np.testing.assert_allclose(derived["taste"], [-2, 0.001, NAN, NAN])
    assert derived["country_x_topic"].tolist() == [
        f"de{CROSSED}{topic}".encode() for topic in ("news", "film", "art", "")
    ]
    assert derived["tab_x_country"].tolist() == [f"home{CROSSED}de".encode()]


def test_maps_without_entries_have_nothing_for_any_key(crossed):
    derived = looked_up(crossed, ["news", "film"])
    np.testing.assert_allclose(derived["taste"], [NAN, NAN])
    assert derived["shop"].tolist() == [MISSING.encode()] * 2
    assert looked_up(crossed, [])["taste"].shape == (0,)


def test_a_map_of_each_row_is_asked_for_its_own_key(crossed):
    derived = looked_up(crossed, ["b", "b", "c"], shops=[["a=1", "b=2"], ["a=3"], ["c=4"]])
    assert derived["shop"].tolist() == [b"2", MISSING.encode(), b"4"]


def test_a_value_that_is_no_number_is_refused(crossed):
    with pytest.raises(tf.errors.InvalidArgumentError, match="many"):
        looked_up(crossed, ["film"], tastes=[["film=many"]])


def test_requests_hold_what_is_crossed_and_looked_up_and_not_what_comes_of_it(crossed):
    names = {column.name for column in input_columns(crossed)}
    assert {"country", "topic", "tastes", "shops"} <= names
    assert not names & {derived.name for derived in crossed.derive}
    assert not {column.name for column in example_columns(crossed)} & {derived.name for derived in crossed.derive}


def test_importance_permutes_what_examples_hold(crossed):
    inputs = {model_input.name: model_input.of_user for model_input in inputs_of(crossed)}
    assert not inputs.keys() & {derived.name for derived in crossed.derive}
    assert inputs["tastes"]
    assert not inputs["topic"]


def tensors(arrays) -> dict[str, tf.Tensor]:
    dtypes = {"O": tf.string, "f": tf.float32, "i": tf.int64}
    return {name: tf.constant(array, dtypes[np.asarray(array).dtype.kind]) for name, array in arrays.items()}


@pytest.mark.parametrize("user", range(len(ROWS)))
def test_rank_and_predict_give_what_full_examples_give(crossed, served, user):
    pairs = [{**ROWS[user], **{name: item[name] for name in ("item_id", "topic", "length")}} for item in ROWS]
    expected = served["serving_default"](examples=tf.constant([write_record(crossed, pair) for pair in pairs]))["like"]
    ranked = served["rank"](**tensors(rank_request(crossed, ROWS[user], columns_of_rows(crossed, ROWS), [1.0])))
    predicted = served["predict"](**tensors(predict_request(crossed, columns_of_rows(crossed, pairs))))
    np.testing.assert_allclose(ranked["like"], expected[:, 0], atol=1e-6)
    np.testing.assert_allclose(predicted["like"], expected, atol=1e-6)
    assert len(np.unique(np.round(expected, 6))) > 2


UNEVEN = {
    "user_id": "7.0",
    "item_id": "3.00",
    "tab": "none",
    "country": "1.0",
    "topic": "2.0",
    "tastes": ["2.0=0.5"],
    "shops": ["2.0=1"],
    "langs": ["['en'", "", " de]", "NULL", "5.0", "'6.0'", " nan]"],
    "liked_item_id": ["3.0"],
    "liked_topic": ["NULL"],
}
EVEN = {
    "user_id": "7",
    "item_id": "3",
    "tab": MISSING,
    "country": "1",
    "topic": "2",
    "tastes": ["2=0.5"],
    "shops": ["2=1"],
    "langs": ["en", "de", "5", "6"],
    "liked_item_id": ["3"],
    "liked_topic": [MISSING],
}


def row_of(texts) -> Row:
    return row(
        texts["country"], texts["topic"], 1.0, **{n: v for n, v in texts.items() if n not in ("country", "topic")}
    )


@pytest.mark.parametrize("name", UNEVEN)
def test_what_a_log_has_scores_as_what_ingest_makes_of_it(crossed, name):
    def read(texts):
        rows = [row_of(texts)]
        predicted = examples(tensors(predict_request(crossed, columns_of_rows(crossed, rows))), crossed)
        ranked = user_and_candidates(tensors(rank_request(crossed, rows[0], columns_of_rows(crossed, rows))), crossed)
        return [np.asarray(columns[name][0]).tolist() for columns in (predicted, ranked)]

    as_bytes = [text.encode() for text in EVEN[name]] if isinstance(EVEN[name], list) else EVEN[name].encode()
    assert read({**EVEN, name: UNEVEN[name]}) == read(EVEN) == [as_bytes] * 2


def test_ids_and_categories_that_are_no_whole_numbers_stay(crossed):
    texts = ["1.05", "-2.0", "1.0a", "x1.0", "1.", "a.0", " ", "none"]
    columns = {"user_id": tf.constant(texts), "tab": tf.constant(texts), "country": tf.constant([*texts[:-1], "NULL"])}
    read = [column for column in input_columns(crossed) if column.name in columns]
    evened = {name: [text.decode() for text in values.numpy()] for name, values in even(columns, crossed, read).items()}
    as_they_are = ["1.05", "-2", "1.0a", "x1.0", "1.", "a.0", " "]
    assert evened["user_id"] == [*as_they_are, "none"]
    # The log's own word, and a table's default one.
    assert evened["tab"] == evened["country"] == [*as_they_are, MISSING]


def test_a_number_that_the_spec_reads_as_missing_is_missing(crossed):
    (length,) = (column for column in input_columns(crossed) if column.name == "length")
    columns = {"length": tf.constant([-1.0, 1.0, NAN]), "liked_length": tf.ragged.constant([[2.0], [-1.0, 0.0]])}
    (liked,) = (column for column in input_columns(crossed) if column.name == "liked_length")
    evened = even(columns, crossed, [length, liked])
    np.testing.assert_equal(evened["length"].numpy(), np.float32([NAN, 1.0, NAN]))
    np.testing.assert_equal(evened["liked_length"].flat_values.numpy(), np.float32([2.0, NAN, 0.0]))


def test_an_uneven_request_scores_as_an_even_one(crossed, served):
    scores = []
    for texts in (EVEN, UNEVEN):
        rows = [row_of(texts)]
        request = tensors(rank_request(crossed, rows[0], columns_of_rows(crossed, rows), [1.0]))
        scores.append(float(served["rank"](**request)["score"][0]))
    assert scores[0] == scores[1]
