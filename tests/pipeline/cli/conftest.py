"""A hand-made model of the tiny spec, as it is pushed."""

from pathlib import Path

import pytest
import tensorflow as tf

from schema.loading import load_spec
from schema.served import SPEC_FILE


def user(name: str, dtype: tf.DType = tf.string) -> tf.TensorSpec:
    return tf.TensorSpec([], dtype, name=name)


def many(name: str, dtype: tf.DType = tf.string) -> tf.TensorSpec:
    return tf.TensorSpec([None], dtype, name=name)


class HandMade(tf.Module):
    """A ranker of the tiny spec's columns: like = 0.5^(how often the item was viewed), share = 1 / (1 + its length).

    A missing length is 0.
    """

    @tf.function(
        input_signature=[
            *(
                user("user_id"),
                many("item_id"),
                user("country"),
                user("battery", tf.float32),
                user("hour"),
                user("band"),
            ),
            *(many("topic"), many("length", tf.float32), tf.TensorSpec([None, None], tf.string, name="tags")),
            *(many("viewed_item_id"), many("viewed_age_s", tf.float32), many("viewed_topic")),
            *(many("viewed_length", tf.float32), many("liked_item_id"), many("liked_age_s", tf.float32)),
            *(many("liked_topic"), many("liked_length", tf.float32)),
            tf.TensorSpec([2], tf.float32, name="exponents"),
        ]
    )
    def rank(
        self,
        user_id,
        item_id,
        country,
        battery,
        hour,
        band,
        topic,
        length,
        tags,
        viewed_item_id,
        viewed_age_s,
        viewed_topic,
        viewed_length,
        liked_item_id,
        liked_age_s,
        liked_topic,
        liked_length,
        exponents=tf.constant([1.0, 0.5]),  # noqa: B008 (a signature's default is a tensor)
    ):
        viewed = item_id[:, None] == viewed_item_id[None, :]
        like = 0.5 ** tf.reduce_sum(tf.cast(viewed, tf.float32), axis=1)
        share = 1 / (1 + tf.where(tf.math.is_nan(length), 0.0, length))
        score = like ** exponents[0] * share ** exponents[1]
        order = tf.argsort(score, direction="DESCENDING", stable=True)
        return {"like": like, "share": share, "score": score, "order": order}


@pytest.fixture(scope="session")
def model_dir(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("serving") / "tiny"
    model = HandMade()
    tf.saved_model.save(model, str(folder / "3"), {"rank": model.rank, "serving_default": model.rank})
    # As the Trainer does; it says in which inputs NaN is a missing number.
    (folder / "3" / SPEC_FILE).parent.mkdir()
    (folder / "3" / SPEC_FILE).write_text(load_spec(tiny[0]).to_json())
    return folder
