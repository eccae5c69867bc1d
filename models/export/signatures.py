"""The served functions, whose graphs hold stock TensorFlow operations only: Transform's, then the ranker's."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models.export import requests
from models.features import dense
from models.ranker import Ranker
from schema import served
from schema.served import ORDER, PREDICT, RANK, SCORE, SERVING_DEFAULT, SPEC_FILE
from schema.spec import Task

# What an output of 0 counts as in the score, whose logarithm is finite.
_TINY = np.finfo(np.float32).tiny


class Servable(tf.Module):
    """A ranker with the Transform graph before it: what a SavedModel holds. It scores raw examples.

    Tracks the ranker's variables and not the Keras model, whose own call functions nobody serves and take most of the
    time of saving.

    Attributes:
      functions: the served functions by name: `serving_default`, `predict`, and, where the ranker reads anything of
        the candidates, `rank`.
    """

    def __init__(self, ranker: Ranker, transform: tft.TFTransformOutput):
        super().__init__(name="servable")
        self.transform = transform.transform_features_layer()
        spec = ranker.spec
        feature_spec = requests.request_feature_spec(spec)
        declared = served.signatures(spec)
        (examples_spec,) = requests.tensor_specs(declared[SERVING_DEFAULT].inputs).values()

        @tf.function(autograph=False, input_signature=[examples_spec])
        def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            """Scores serialised tf.Examples, `(batch, 1)` by task; columns that aren't read may be absent."""
            raw = tf.io.parse_example(examples, feature_spec)
            return ranker(dense(self.transform(raw), spec))

        @tf.function(autograph=False, input_signature=[requests.tensor_specs(declared[PREDICT].inputs)])
        def predict(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            """Returns each task's output `(batch, 1)` for columns by name (`schema.served.predict_inputs`)."""
            return ranker(dense(self.transform(requests.examples(inputs, spec)), spec))

        columns_spec = requests.tensor_specs(served.rank_inputs(spec))
        (exponents_spec,) = requests.tensor_specs([served.exponents_input(spec)]).values()
        default_exponents = tf.constant([task.exponent for task in spec.tasks], tf.float32)

        @tf.function(autograph=False, input_signature=[columns_spec, exponents_spec])
        def rank(inputs: Mapping[str, tf.Tensor], exponents: tf.Tensor = default_exponents) -> dict[str, tf.Tensor]:
            """Scores and orders one user's N candidates: each task's output, `score` and `order`, all `(N,)`.

            `inputs` are columns by name (`schema.served.rank_inputs`), `exponents` the tasks'.
            """
            features = dense(self.transform(requests.user_and_candidates(inputs, spec)), spec)
            outputs = ranker.score_candidates(features)
            values = {task: tf.squeeze(output, axis=1) for task, output in outputs.items()}
            checked = refuse_powers(spec.tasks, exponents)
            return {**values, **fused_ranking(list(values.values()), checked)}

        functions = {SERVING_DEFAULT: serving_default, PREDICT: predict, RANK: rank}
        self.functions = {name: functions[name] for name in declared}
        # Tracing creates what variables there are not yet.
        serving_default.get_concrete_function()
        self.weights = list(ranker.variables)


def refuse_powers(tasks: Sequence[Task], exponents: tf.Tensor) -> tf.Tensor:
    """Returns the exponents, `(tasks,)`, once they are 0 for each task whose output may be negative.

    Raises:
      tf.errors.InvalidArgumentError: one of them isn't 0.
    """
    without = [index for index, task in enumerate(tasks) if not task.takes_exponent]
    if not without:
        return exponents
    exponents = tf.ensure_shape(exponents, [len(tasks)], name="shape_of_exponents")
    powers = tf.gather(exponents, without)
    names = ", ".join(tasks[index].name for index in without)
    check = tf.raw_ops.Assert(
        condition=tf.reduce_all(powers == 0.0),
        data=[f"exponents: expected 0 for {names}, whose output may be negative and has no power, got", powers],
        summarize=len(without),
    )
    with tf.control_dependencies([check]):
        return tf.identity(exponents)


def fused_ranking(outputs: list[tf.Tensor], exponents: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the `score` `(N,)`, `prod_k p_k^w_k` (PLE, eq. 1), and the `order` `(N,)`: indices, the best first.

    A negative output counts as 0; it has no power but 0 (`refuse_powers`).
    Equal scores keep the order of the candidates. The order is that of the logarithms, which also tells scores apart
    that are too small for a float.

    Raises:
      tf.errors.InvalidArgumentError: another number of exponents than of tasks, or one that isn't finite.
    """
    exponents = tf.ensure_shape(exponents, [len(outputs)], name="shape_of_exponents")
    check = tf.raw_ops.Assert(
        condition=tf.reduce_all(tf.math.is_finite(exponents)),
        data=["exponents: expected finite numbers, got", exponents],
        summarize=len(outputs),
    )
    with tf.control_dependencies([check]):
        exponents = tf.identity(exponents)
    logarithms = tf.math.log(tf.maximum(tf.stack(outputs, axis=1), _TINY))
    fused = tf.reduce_sum(exponents * logarithms, axis=1)
    return {SCORE: tf.exp(fused), ORDER: tf.argsort(fused, direction="DESCENDING", stable=True)}


def save(ranker: Ranker, transform: tft.TFTransformOutput, directory: str) -> Servable:
    """Writes the SavedModel that TensorFlow Serving and the Evaluator load, with the spec in `assets.extra`."""
    servable = Servable(ranker, transform)
    tf.saved_model.save(servable, directory, signatures=servable.functions)
    tf.io.gfile.makedirs(f"{directory}/{SPEC_FILE.parent}")
    with tf.io.gfile.GFile(f"{directory}/{SPEC_FILE}", "w") as file:
        file.write(ranker.spec.to_json())
    return servable
