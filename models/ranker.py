"""The multi-task ranker: features -> bottom -> routing -> towers -> one output per task."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.balancing import Uncertainty
from models.bottom import BOTTOMS
from models.distribution import all_reduce_sum
from models.features import Features, placeholders
from models.layers import Towers
from models.layers.arguments import PACKAGE, TaskInputs
from models.layers.user_item_rows import materialize
from models.noise import TrainingNoise
from models.precision import precision_scope
from models.ranking_losses import ranking_loss, towers_logits
from models.routing import check_routing
from models.tasks.ranking_task import RankingTask, loss_weight
from schema.columns import RANKING_GROUP, label_name, space_name
from schema.spec import RankingSpec

# What XLA compiles: the whole training step; what is above the embeddings; or nothing.
Compiled = Literal["step", "head", "nothing"]


class SharingWeights(NamedTuple):
    """What the tasks weigh, in each example of a batch, of what they share.

    Attributes:
      gates: by gate of the routing, `level_1/task_2`, what it gives each expert, `(batch, experts)`.
      refinement: by task, what it gives each field of its input, `(batch,)`; empty but for the DTRN bottom.
    """

    gates: dict[str, tf.Tensor]
    refinement: dict[str, dict[str, tf.Tensor]]


@tf.keras.utils.register_keras_serializable(PACKAGE)
class Ranker(tfrs.models.Model):
    """One output per task, `(batch, 1)`: a probability, or of a regression a value in the label's units.

    Call with dense features by name (`models.features.dense`). `compute_loss` takes the same with labels and spaces:

        L = sum_k w_k(t) L_k      (PLE, eq. 8-10)

    Args:
      spec: the ranking spec.
      table_sizes: rows of each embedding table (`models.features.table_sizes`).
      output_bias: the logit that each task starts from, in the order of the tasks; zeros if not given.
      compiled: what XLA compiles when training (see `models.training.optimizer.choose_jit`).
      sparse_tables: whether a step updates only the rows of the embedding tables that its batch has read.
      deviations: what each task's kind said of its train labels (`TaskKind.deviation`); ones if not given.

    Raises:
      ValueError: an unknown routing, a spec that leaves the ranker without an input, or sparse tables in a step that
        is compiled whole.
    """

    def __init__(
        self,
        spec: RankingSpec,
        table_sizes: Mapping[str, int],
        output_bias: Sequence[float] | None = None,
        compiled: Compiled = "step",
        sparse_tables: bool = False,
        deviations: Sequence[float] | None = None,
    ):
        super().__init__(name="ranker")
        if sparse_tables and compiled == "step":
            raise ValueError(
                "compiled: got 'step', expected 'head' or 'nothing' for sparse tables, which XLA can't update"
            )
        routing = check_routing(spec.model.routing)
        tasks = len(spec.tasks)
        names = [f"{task.name}_encoder" for task in spec.tasks] if routing.tables != "shared" else []
        names += ["encoder"] if routing.tables != "own" else []
        self.spec, self.table_sizes, self.output_bias = spec, dict(table_sizes), output_bias
        # A bottom that is one task's alone, or the shared one beside those, gives one tensor.
        self.encoders = [
            BOTTOMS[spec.model.bottom](spec, table_sizes, 1 if len(names) > 1 else tasks, name) for name in names
        ]
        with precision_scope(spec.training.precision):
            self.routing = routing.build(spec.model.model_copy(update={"task_experts": spec.task_experts}), tasks)
        # A logit has to tell rare labels apart: always in float32.
        self.deviations = list(deviations or [1.0] * tasks)
        scaled = any(task.task_kind == "unbounded" for task in spec.tasks)
        scale = self.deviations if scaled else None
        logits = towers_logits(spec.training)
        self.towers = Towers(
            tasks, spec.model.tower_units, output_bias, output_scale=scale, logits=logits, name="towers"
        )
        self.ranking_tasks = [
            RankingTask(task, spec.training, deviation)
            for task, deviation in zip(spec.tasks, self.deviations, strict=True)
        ]
        self.noise = TrainingNoise(spec, table_sizes)
        self.epoch = tf.Variable(0, trainable=False, dtype=tf.int64, name="epoch")
        self.balancing = spec.training.loss_balancing
        self.uncertainty = (
            Uncertainty([task.kind.is_gaussian for task in self.ranking_tasks])
            if self.balancing == "uncertainty"
            else None
        )
        self.compiled, self.sparse_tables = compiled, sparse_tables
        # XLA must not reach the served graph, so it wraps functions of training alone.
        self._compiled_head = tf.function(self._head, jit_compile=True, autograph=False)

    def call(self, features: Features) -> dict[str, tf.Tensor]:
        return self.outputs_of(self.logits(features))

    def score_candidates(self, features: Features) -> dict[str, tf.Tensor]:
        """Returns what a call does, for one user's candidates: the user's columns have one row, the others one each.

        What is the user's alone is computed once. The ranker must have been called before.
        """
        return self.outputs_of(self.candidates_logits(features))

    def logits(self, features: Features) -> list[tf.Tensor]:
        """Returns what each task's output is made of, `(batch, 1)`."""
        return self._task_logits(self._route(self.encode(features)))

    def candidates_logits(self, features: Features) -> list[tf.Tensor]:
        """Returns the logits of one user's candidates, as `score_candidates` reads them."""
        encoded = _flattened([encoder.encode_candidates(features) for encoder in self.encoders])
        if isinstance(encoded, list) or not getattr(self.routing, "takes_user_item_rows", False):
            encoded = materialize(encoded)
        return self._task_logits(self._route(encoded))

    def outputs_of(self, logits: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns each task's output by its name, from the logits of all tasks."""
        kinds = [ranking_task.kind for ranking_task in self.ranking_tasks]
        return {kind.task.name: kind.link(logit) for kind, logit in zip(kinds, logits, strict=True)}

    def encode(self, features: Features) -> TaskInputs:
        """Returns what the routing reads: one tensor for all tasks, or a list, as bottom and routing have it."""
        return _flattened([encoder(features) for encoder in self.encoders])

    def compute_loss(self, inputs: Features, training: bool = False) -> tf.Tensor:
        return tf.add_n(self.weighted_losses(inputs, training))

    def weighted_losses(self, inputs: Features, training: bool = False) -> list[tf.Tensor]:
        """Returns the tasks' terms of the loss."""
        losses = self.task_losses(inputs, training)
        if self.uncertainty:
            counts = all_reduce_sum(*(tf.reduce_sum(inputs[space_name(task)]) for task in self.spec.tasks))
            losses = self.uncertainty.losses(losses, [tf.sign(count) for count in counts])
        return [weight * loss for weight, loss in zip(self._schedules(), losses, strict=True)]

    def task_losses(self, inputs: Features, training: bool = False, compute_metrics: bool = True) -> list[tf.Tensor]:
        """Returns `L_k` of each task: its mean loss over its sample space in the batch.

        In training with noise, and with what `training.ranking_loss` adds.
        """
        head = self._compiled_head if self.compiled == "head" else self._head
        moment = self.noise.moment(self.steps_done()) if training else None
        features = inputs if moment is None else self.noise.mask_ids(inputs, moment)
        logits = head(dict(features), self._embedded(features, moment), moment)
        return self._losses_of(logits, inputs, training, compute_metrics)

    def evaluate_batch(self, inputs: Features) -> SharingWeights:
        """Adds a batch to the metrics, and returns what the tasks weighed in it.

        One encoding gives both, but where the head is compiled and rounds otherwise: there they share the embeddings.
        """
        values = self._embedded(inputs)
        logits, weights = self._head_with_weights(inputs, values)
        if self.compiled == "head":
            # The losses are to be rounded as in training. The graph drops the other logits.
            logits = self._compiled_head(dict(inputs), values)
        self._losses_of(logits, inputs, training=False, compute_metrics=True)
        return weights

    def loss_weights(self) -> list[tf.Tensor]:
        """Returns what each task's loss counts for, at this epoch and step."""
        learned = tf.unstack(self.uncertainty.weights()) if self.uncertainty else [1.0] * len(self.spec.tasks)
        return [weight * factor for weight, factor in zip(self._schedules(), learned, strict=True)]

    def train_step(self, inputs: Features) -> dict[str, tf.Tensor]:
        """Takes one step of the optimiser, for Keras' `fit`; the loop of `models.training` calls the step itself."""
        # It knows the ranker, which is to know nothing else of training.
        from models.training.step import train_step

        return {"loss": train_step(self, inputs)}

    def embedding_tables(self) -> list[tf.Variable]:
        """Returns the embedding tables, of which a batch reads a few rows."""
        return [table for encoder in self.encoders for table in encoder.embeddings.tables.values()]

    def network_variables(self) -> list[tf.Variable]:
        """Returns all trainable variables but the embedding tables."""
        tables = {table.ref() for table in self.embedding_tables()}
        return [variable for variable in self.trainable_variables if variable.ref() not in tables]

    def steps_done(self) -> tf.Tensor:
        """Returns how many steps the optimiser has taken, an int64; 0 without one."""
        optimizer = getattr(self, "optimizer", None)
        return optimizer.iterations if optimizer is not None else tf.constant(0, tf.int64)

    def task_metrics(self) -> dict[str, dict[str, float]]:
        """Returns each task's `loss` and its kind's metrics, such as `auc`, over the batches since `reset_metrics`."""
        results: dict[str, dict[str, float]] = {}
        for metric in self.metrics:
            task, _, name = metric.name.partition("/")
            if name:
                results.setdefault(task, {})[name] = float(metric.result())
        return results

    def gate_weights(self, features: Features) -> dict[str, tf.Tensor]:
        """Returns what each gate of the routing gives each expert, `(batch, experts)`; empty for one without gates."""
        return self._head_with_weights(features, self._embedded(features))[1].gates

    def refinement_weights(self, features: Features) -> dict[str, dict[str, tf.Tensor]]:
        """Returns what each task gives each field of its input, `(batch,)` (DTRN's refinement), if it has any."""
        return self._head_with_weights(features, self._embedded(features))[1].refinement

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, as JSON has them. The weights don't exist before a call."""
        return {
            "spec": self.spec.to_json(),
            "table_sizes": dict(self.table_sizes),
            "output_bias": None if self.output_bias is None else [float(bias) for bias in self.output_bias],
            "compiled": self.compiled,
            "sparse_tables": self.sparse_tables,
            "deviations": list(self.deviations),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Self:
        return cls(**{**config, "spec": RankingSpec.from_json(config["spec"])})

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Creates the weights. Keras would by floats alone, which ids are not."""
        self(placeholders(self.spec))

    def get_compile_config(self) -> None:
        """Returns nothing: the spec says how it is trained (`models.training.optimizer.compile_for_training`)."""

    def _task_logits(self, logits: list[tf.Tensor]) -> list[tf.Tensor]:
        """Returns what outputs and losses are made of, `(batch, 1)` of each task, from all that the towers give."""
        return logits if self.towers.logits == 1 else [logit[:, :1] for logit in logits]

    def _route(self, encoded: TaskInputs, moment: tf.Tensor | None = None) -> list[tf.Tensor]:
        routed = self.routing(self.noise.drop_inputs(encoded, "routing", moment))
        return self.towers(self.noise.drop_inputs(routed, "towers", moment))

    def _embedded(self, features: Features, moment: tf.Tensor | None = None) -> list[dict[str, tf.Tensor]]:
        values = [encoder.embeddings(features) for encoder in self.encoders]
        if moment is None:
            return values
        return [
            self.noise.drop_embeddings(value, features, encoder.name, moment)
            for encoder, value in zip(self.encoders, values, strict=True)
        ]

    def _head(
        self, features: Features, values: list[dict[str, tf.Tensor]], moment: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        """Computes the logits from what the embedding tables gave: all of the network above them.

        Args:
          moment: what the noise of a training step depends on (`TrainingNoise.moment`); None without noise.
        """
        encoded = [encoder.combine(features, value) for encoder, value in zip(self.encoders, values, strict=True)]
        return self._route(_flattened(encoded), moment)

    def _head_with_weights(
        self, features: Features, values: list[dict[str, tf.Tensor]]
    ) -> tuple[list[tf.Tensor], SharingWeights]:
        """Computes the logits as `_head` does, and what gates and refinement weighed on the way."""
        encoded, refinement = [], []
        for encoder, value in zip(self.encoders, values, strict=True):
            combined, weights = encoder.combine_with_weights(features, value)
            encoded.append(combined)
            refinement += weights
        inputs = _flattened(encoded)
        logits = self._route(inputs)
        read_gates = getattr(self.routing, "gate_weights", None)
        gates = read_gates(inputs) if read_gates else {}
        # Without refinement there are none; of task-own tables beside a shared one, the shared one's come last.
        by_task = dict(zip([task.name for task in self.spec.tasks], refinement, strict=False))
        return logits, SharingWeights(gates, by_task)

    def _losses_of(
        self, logits: list[tf.Tensor], inputs: Features, training: bool, compute_metrics: bool
    ) -> list[tf.Tensor]:
        losses = [
            ranking_task(
                inputs[label_name(task)],
                logit,
                inputs[space_name(task)],
                training=training,
                compute_metrics=compute_metrics,
            )
            for task, ranking_task, logit in zip(
                self.spec.tasks, self.ranking_tasks, self._task_logits(logits), strict=True
            )
        ]
        return self._with_ranking_losses(losses, logits, inputs) if training else losses

    def _with_ranking_losses(
        self, losses: list[tf.Tensor], logits: list[tf.Tensor], inputs: Features
    ) -> list[tf.Tensor]:
        """Adds to the tasks' losses what `training.ranking_loss` has against the order of the batch's groups."""
        summed = list(losses)
        for index, (task, weight) in enumerate(zip(self.spec.tasks, self.spec.ranking_weights, strict=True)):
            if weight:
                loss = ranking_loss(self.spec.training)
                label, space = inputs[label_name(task)], inputs[space_name(task)]
                summed[index] += weight * loss(label, logits[index], space, inputs[RANKING_GROUP])
        return summed

    def _schedules(self) -> list[tf.Tensor]:
        return [loss_weight(task.weight, self.epoch, self.steps_done()) for task in self.spec.tasks]


def _flattened(encoded: list[TaskInputs]) -> TaskInputs:
    """Flattens the encoders' outputs, each one tensor or a list of one per task, into what the routing takes."""
    if len(encoded) == 1:
        return encoded[0]
    return [tensor for output in encoded for tensor in (output if isinstance(output, list | tuple) else [output])]
