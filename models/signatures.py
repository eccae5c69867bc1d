"""The served functions. Their graphs hold stock TensorFlow operations only: Transform's, then the ranker's."""

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform.tf_metadata import schema_utils

from models.features import dense, model_columns
from models.ranker import Ranker
from schema.example_schema import example_schema
from schema.spec import RankingSpec


class Servable(tf.Module):
    """A ranker with the Transform graph before it: what a SavedModel holds. It scores raw examples.

    Tracks the ranker's variables and not the Keras model, whose own call functions nobody serves and take most of the time
    of saving.
    """

    def __init__(self, ranker: Ranker, transform: tft.TFTransformOutput):
        super().__init__(name="servable")
        self.transform = transform.transform_features_layer()
        feature_spec = request_feature_spec(ranker.spec)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            """Each task's output `(batch, 1)` for serialised tf.Examples; columns that aren't read may be absent."""
            raw = tf.io.parse_example(examples, feature_spec)
            return ranker(dense(self.transform(raw), ranker.spec))

        self.serving_default = serving_default
        # Tracing creates what variables there are not yet.
        serving_default.get_concrete_function()
        self.weights = list(ranker.variables)


def request_feature_spec(spec: RankingSpec) -> dict:
    """How to parse a request: the raw columns of an example without labels and sample spaces, nor what isn't read."""
    schema = example_schema(spec)
    parsed = schema_utils.schema_as_feature_spec(schema).feature_spec
    return {column.name: parsed[column.name] for column in model_columns(spec)}


def save(ranker: Ranker, transform: tft.TFTransformOutput, directory: str) -> Servable:
    """Writes the SavedModel that TensorFlow Serving and the Evaluator load, with the spec in `assets.extra`."""
    servable = Servable(ranker, transform)
    tf.saved_model.save(servable, directory, signatures={"serving_default": servable.serving_default})
    tf.io.gfile.makedirs(f"{directory}/assets.extra")
    with tf.io.gfile.GFile(f"{directory}/assets.extra/ranking_spec.json", "w") as file:
        file.write(ranker.spec.to_json())
    return servable
