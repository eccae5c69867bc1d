"""A small real ranker with its three signatures, written by hand, and examples of it."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts
from videos_spec import SPEC

from components.serving_validator.sample_requests import cold_row
from schema.columns import ExampleColumn
from schema.served import request_columns
from schema.spec import RankingSpec
from serving.requests import write_record


def _hashed(text: tf.Tensor) -> tf.Tensor:
    """A number in [-1, 1] for each text, 0 for padding."""
    number = tf.cast(tf.strings.to_hash_bucket_fast(text, 201), tf.float32) / 100 - 1
    return tf.where(text == "", 0.0, number)


def _known(number: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.math.is_nan(number), 0.0, number)


Twist = Callable[[dict[str, tf.Tensor]], Any]
SIGNATURES = ("serving_default", "predict", "rank")


def _untwisted(features: dict[str, tf.Tensor]) -> float:
    return 0.0


class TinyRanker(tf.Module):
    """p_view = σ(w u i), p_click = σ(w u i - 1): u a number of the user's side, i one of the item's.

    `twist(features)` is added to the logit in `rank` alone: what a broken model does differently there.
    """

    def __init__(self, twist: Twist = _untwisted):
        super().__init__()
        self.weight = tf.Variable(2.0)
        self.twist = twist

    def user_side(self, f: dict[str, tf.Tensor]) -> tf.Tensor:
        history = tf.where(f["clicked_item_id"] == "", 0.0, _hashed(f["clicked_item_id"]) + f["clicked_age_s"])
        history += tf.where(f["clicked_item_id"] == "", 0.0, _known(f["clicked_price"]))
        covers = tf.where(tf.repeat(f["clicked_item_id"] == "", 2, axis=-1), 0.0, _known(f["clicked_cover"]))
        history += tf.reduce_sum(tf.reshape(covers, [*tf.unstack(tf.shape(f["clicked_item_id"])), 2]), axis=-1)
        return _hashed(f["user_id"]) + _hashed(f["country"]) + _known(f["battery"]) + tf.reduce_sum(history, axis=-1)

    def item_side(self, f: dict[str, tf.Tensor]) -> tf.Tensor:
        covers = tf.reduce_sum(_known(f["cover"]), axis=-1)
        return _hashed(f["item_id"]) + _known(f["price"]) + tf.reduce_sum(_hashed(f["tags"]), axis=-1) + covers

    def outputs(self, logit: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"view": tf.sigmoid(logit), "click": tf.sigmoid(logit - 1.0)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(self, examples):
        parsed = tf.io.parse_example(
            examples,
            {
                column.name: tf.io.RaggedFeature(_DTYPES[column.dtype])
                if column.ragged
                else tf.io.FixedLenFeature(_shape(column), _DTYPES[column.dtype])
                for column in _COLUMNS
            },
        )
        dense = {name: v.to_tensor() if isinstance(v, tf.RaggedTensor) else v for name, v in parsed.items()}
        return self._score(dense)

    @tf.function
    def _score(self, features):
        logit = self.weight * self.user_side(features) * self.item_side(features)
        return {task: values[:, None] for task, values in self.outputs(logit).items()}

    @property
    def predict(self):
        specs = {c.name: tf.TensorSpec([None, *_shape(c)], _DTYPES[c.dtype], name=c.name) for c in _COLUMNS}
        return tf.function(lambda **features: self._score(features)).get_concrete_function(**specs)

    @property
    def rank(self):
        rows = {"user": [], "item": [None]}
        specs = [tf.TensorSpec([*rows[c.side], *_shape(c)], _DTYPES[c.dtype], name=c.name) for c in _COLUMNS]

        @tf.function(input_signature=[*specs, tf.TensorSpec([2], tf.float32, name="exponents")])
        def rank(
            user_id, item_id, country, battery, price, tags, cover, clicked_item_id, clicked_age_s, clicked_price,
            clicked_cover,
            exponents=tf.constant([1.0, 2.0]),  # noqa: B008 (a signature's default is a tensor)
        ):  # fmt: skip
            features = {name: value for name, value in locals().items() if name in _NAMES}
            return self._rank(features, exponents)

        return rank

    def _rank(self, features, exponents):
        logit = self.weight * self.user_side(features) * self.item_side(features) + self.twist(features)
        tasks = self.outputs(logit)
        powers = exponents[:, None] * tf.math.log(tf.maximum(tf.stack([tasks["view"], tasks["click"]]), 1e-7))
        score = tf.exp(tf.reduce_sum(powers, axis=0))
        return {**tasks, "score": score, "order": tf.argsort(score, direction="DESCENDING", stable=True)}


def _shape(column: ExampleColumn) -> list[int | None]:
    """Returns the shape of one row's value."""
    return [None] if column.ragged else [] if column.width is None else [column.width]


_DTYPES = {"string": tf.string, "float": tf.float32, "int": tf.int64}
_COLUMNS = [column for column in request_columns(SPEC) if column.role != "timestamp"]

_NAMES = [column.name for column in _COLUMNS]


def example_rows(count: int = 40) -> list[dict[str, Any]]:
    random, random_covers = np.random.default_rng(0), np.random.default_rng(1)
    rows = []
    for index in range(count):
        length = int(random.integers(0, 4))
        row = {
            **cold_row(SPEC),
            "user_id": f"u{index % 7}".encode(),
            "item_id": f"v{index % 11}".encode(),
            "country": f"c{index % 3}".encode(),
            "battery": float(random.uniform()) if index % 5 else float("nan"),
            "price": float(random.uniform()),
            "tags": [f"t{i}".encode() for i in range(index % 4)],
            "cover": random_covers.normal(size=2).tolist() if index % 6 else [float("nan")] * 2,
            "clicked_item_id": [f"v{i}".encode() for i in range(length)],
            "clicked_age_s": [float(i) / 10 for i in range(length)],
            "clicked_price": [float("nan") if i == 1 else 0.5 for i in range(length)],
            "clicked_cover": random_covers.normal(size=2 * length).tolist(),
        }
        rows.append(row)
    return rows


@pytest.fixture(scope="session")
def spec() -> RankingSpec:
    return SPEC


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    return example_rows()


@pytest.fixture(scope="session")
def records(rows) -> list[bytes]:
    return [write_record(SPEC, row) for row in rows]


@pytest.fixture
def examples(tmp_path: Path, records) -> standard_artifacts.Examples:
    """The artifact, its test split in two files."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(tmp_path / "examples")
    artifact.split_names = artifact_utils.encode_split_names(["train", "test"])
    examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
    folder = tmp_path / "examples" / "Split-test"
    folder.mkdir(parents=True)
    (tmp_path / "examples" / "Split-train").mkdir()
    for shard in range(2):
        with tf.io.TFRecordWriter(str(folder / f"data_tfrecord-{shard}-of-2.gz"), options="GZIP") as writer:
            for record in records[shard::2]:
                writer.write(record)
    return artifact


def _save(ranker: TinyRanker, names: set[str], folder: Path) -> None:
    signatures = {name: getattr(ranker, name) for name in names}
    tf.saved_model.save(ranker, str(folder / "Format-Serving"), signatures=signatures)


@pytest.fixture(scope="session")
def sound_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TinyRanker with nothing wrong, traced once, to be copied."""
    folder = tmp_path_factory.mktemp("sound")
    _save(TinyRanker(), set(SIGNATURES), folder)
    return folder


@pytest.fixture
def save_model(tmp_path: Path, sound_model: Path) -> Callable[..., standard_artifacts.Model]:
    """`save_model(twist, without=[…])` writes a TinyRanker as the Trainer would, and returns the artifact."""

    def save(twist: Twist | None = None, without: Sequence[str] = ()) -> standard_artifacts.Model:
        artifact = standard_artifacts.Model()
        artifact.uri = str(tmp_path / "model")
        if twist is None and not without:
            shutil.copytree(sound_model, artifact.uri)
        else:
            _save(TinyRanker(twist or _untwisted), set(SIGNATURES) - set(without), Path(artifact.uri))
        return artifact

    return save
