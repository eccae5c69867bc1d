"""The sections `model` and `training` of a ranking spec: the ranker's shape, and how it is trained."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from schema.parts import Frozen, Name, nonempty

Bottom = Literal["plain", "dtrn", "din"]
Experts = Annotated[int, Field(ge=1, le=64)]
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Schedule = Literal["constant", "cosine", "linear"]
Strength = Annotated[float, Field(ge=0)]
BatchSize = Annotated[int, Field(ge=1)]
RatioLoss = Literal["squared", "cross_entropy"]

# Where a spec doesn't say how often the train split is seen: often enough for so many examples in all, within bounds.
SEEN_EXAMPLES = 500_000
FEWEST_EPOCHS, MOST_EPOCHS = 3, 10
# Up to so many steps kernels decay by the whole of the rate; half a million examples in batches of 512 take fewer.
DECAYED_STEPS = 1_300
# The routing that shares nothing (`models.routing`): the reference.
SINGLE_TASK = "single_task"
# PLE, of which each task keeps what it gains by: `models.sharing`.
AUTO_ROUTING, SHARED_ROUTING = "auto", "ple"
# What the best epoch has the least of, by `training.stop_by`, in words.
WATCHED = {"loss": "mean eval loss", "metrics": "1 - mean eval metric"}


def _share_or_steps(value: float) -> float:
    if value > 1 and value != int(value):
        raise ValueError(f"expected a share of the steps below 1, or a whole number of steps, got {value}")
    return value


Warmup = Annotated[float, Field(ge=0), AfterValidator(_share_or_steps)]


def _form_of_experts(value: Any) -> str:
    return "by_task" if isinstance(value, dict) else "list" if isinstance(value, list | tuple) else "count"


def shared_routing(routing: str) -> str:
    """Returns the routing by whose weights tasks share: PLE's of `auto`, else the routing itself."""
    return SHARED_ROUTING if routing == AUTO_ROUTING else routing


class Dtrn(Frozen):
    """The DTRN bottom: which behaviours each task reads by its own attention, and the sizes of what reads them."""

    # None: all of them. Those that are not named are pooled, as in the plain bottom.
    behaviours: Annotated[tuple[Name, ...], Field(strict=False), AfterValidator(nonempty)] | None = None
    units: Annotated[int, Field(ge=1, le=1024)] = 16
    heads: Annotated[int, Field(ge=1, le=64)] = 1
    layers: Annotated[int, Field(ge=1, le=8)] = 1
    feed_forward: Annotated[int, Field(ge=1, le=8192)] = 32
    block: Literal["parallel", "sequential"] = "parallel"
    # The embeddings of tasks and behaviour types, and the hidden layer of the perceptrons that read them.
    condition_dim: Annotated[int, Field(ge=1, le=1024)] = 8
    condition_units: Annotated[int, Field(ge=1, le=1024)] = 16
    # What the refinement's weights come from; what gets one; how much smaller its hidden layer is than its input.
    refinement: Literal["double_sigmoid", "sigmoid", "linear", "none"] = "double_sigmoid"
    refine: Literal["element", "field"] = "element"
    reduction: Annotated[int, Field(ge=1, le=1024)] = 8

    @model_validator(mode="after")
    def _heads_divide_the_units(self) -> Self:
        if self.units % self.heads:
            raise ValueError(f"expected `units` to be a multiple of `heads`, got {self.units} and {self.heads}")
        return self


class Din(Frozen):
    """The DIN bottom: which behaviours the candidate is compared with, and the hidden layers that compare."""

    # None: all of them. Those that are not named are pooled, as in the plain bottom.
    behaviours: Annotated[tuple[Name, ...], Field(strict=False), AfterValidator(nonempty)] | None = None
    units: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=1, strict=False)] = (36,)


class Model(Frozen):
    """The ranker's shape. `experts` are counts per task and of the shared pool, in each extraction level."""

    # A file that says nothing means `auto` (`schema.loading`). JSON of earlier versions left PLE out, and means it.
    routing: Name = SHARED_ROUTING
    bottom: Bottom = "plain"
    dtrn: Dtrn = Dtrn()
    din: Din = Din()
    levels: Annotated[int, Field(ge=1, le=8)] = 2
    # A count for every task, one by task name, or a list in the order of the tasks.
    task_experts: Annotated[
        Annotated[Experts, Tag("count")]
        | Annotated[tuple[Experts, ...], Field(strict=False), Tag("list")]
        | Annotated[dict[str, Experts], Tag("by_task")],
        Discriminator(_form_of_experts),
    ] = 2
    shared_experts: Experts = 2
    expert_units: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, strict=False)] = (64,)
    tower_units: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = (32,)
    embedding_dim: Annotated[int, Field(ge=1, le=1024)] = 16
    embed_ids: Annotated[tuple[Literal["user_id", "item_id"], ...], Field(strict=False)] = ("user_id", "item_id")
    # Whether experts and gates also read the inner products of embeddings, pair by pair.
    products: bool = False
    # Ids seen less often share the out-of-vocabulary buckets.
    min_frequency: Annotated[int, Field(ge=1)] = 5
    max_vocabulary: Annotated[int, Field(ge=1)] = 1_000_000
    oov_buckets: Annotated[int, Field(ge=1)] = 8


class RankingLoss(Frozen):
    """A loss on the order of a group's examples, beside the cross-entropy of binary tasks; others go without."""

    kind: Literal["pairwise", "jrc"]
    # What it counts for, beside a cross-entropy of 1.
    weight: Positive = 1.0
    # What is ordered: None is the request where the log tells it, else the user.
    within: Literal["request", "user"] | None = None
    # Weights of single tasks; 0 leaves one out.
    tasks: dict[Name, Strength] = {}  # noqa: RUF012 (pydantic copies it)

    def weight_of(self, task: str) -> float:
        return self.tasks.get(task, self.weight)


# What differs by default where no id is embedded and there are neither statistics nor behaviours: little is learnt by
# heart then, and training is too short at the other rate (docs/results.md, Census-Income).
ANONYMOUS = {"learning_rate": 1e-2, "weight_decay": 0.0, "dropout": 0.0}
# There the model multiplies up to so many embeddings, pair by pair: what counts is how features go together.
MOST_MULTIPLIED = 64


class Training(Frozen):
    """How the ranker is trained: how long, at which rates, against learning by heart, and on what.

    `batch_size` is what all replicas of a distributed training share.

    `reference` trains a second, single-task ranker that is never pushed: evaluation takes the gain against it (PLE,
    eq. 11).
    """

    # How often the train split is seen at most; 0: by its size (`epochs_for`).
    epochs: Annotated[int, Field(ge=0)] = 0
    batch_size: BatchSize = 512
    learning_rate: Positive = 1e-3
    # How the rates, that of the tables as well, fall to 0 over all steps of `epochs`; constant: they don't.
    schedule: Schedule = "cosine"
    # In how many steps they rise first: below 1 a share of all steps, from 1 on a number of them.
    warmup: Warmup = 0.0
    # The decay of the weights' moving average, which is evaluated and saved in their place; 0: the weights themselves.
    averaging: Probability = 0.99
    patience: Annotated[int, Field(ge=0)] = 3
    # What early stopping watches on the eval split: the mean of the tasks' losses, or of their own metrics.
    stop_by: Literal["loss", "metrics"] = "metrics"
    # How often a number that the experts or the towers read is 0 in a step, and how often a value's embedding is.
    dropout: Probability = 0.1
    embedding_dropout: Probability = 0.0
    # How often all of an example's ids of `model.embed_ids`, and of these features, are out-of-vocabulary in a step.
    id_mask: Probability = 0.5
    id_mask_features: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    # Times the squares of the rows that a step reads of the embedding tables.
    embedding_l2: Strength = 0.0
    # What a step takes of the network's kernels, times the rate (AdamW); None: by the steps (`weight_decay_for`).
    weight_decay: Strength | None = None
    # The largest norm of all gradients together.
    clip_norm: Positive | None = None
    # What a ratio is trained by.
    ratio_loss: RatioLoss = "squared"
    # What binary tasks are trained by beside their cross-entropy.
    ranking_loss: RankingLoss | None = None
    # How tables are trained: Adam on the whole, or by the rows that a batch reads. auto: by rows, once they are large.
    embedding_optimizer: Literal["auto", "adam", "lazy_adam", "adagrad"] = "auto"
    # Of the tables, where it is not `learning_rate`.
    embedding_learning_rate: Positive | None = None
    # What acts on the tasks' losses beside their weights: learned uncertainties, or PCGrad on their gradients.
    loss_balancing: Literal["none", "uncertainty", "pcgrad"] = "none"
    # What large products are computed in; the weights, and what is served, are float32.
    precision: Literal["float32", "bfloat16"] = "float32"
    # Which of TensorFlow's strategies: on all GPUs of a machine, or of several.
    distribution: Literal["none", "mirrored", "multi_worker_mirrored"] = "none"
    seed: int = 1
    reference: bool = False

    def epochs_for(self, examples: int) -> int:
        """Returns how often so many train examples are seen at most: `epochs`; or, if that is 0, by their number.

        Small logs need the steps; in large ones ids are learnt by heart from the second or third time on
        (docs/results.md).
        """
        if self.epochs:
            return self.epochs
        return min(max(-(-SEEN_EXAMPLES // examples), FEWEST_EPOCHS), MOST_EPOCHS)

    def weight_decay_for(self, steps: int) -> float:
        """Returns what a step takes of kernels, times the rate, in so many steps: `weight_decay`; or, if that is None,
        `min(1, DECAYED_STEPS / steps)`.

        Over longer trainings a decay of 1 would hold weights down that the examples have earned (docs/results.md).

        Reference: Wang and Aitchison, "How to set AdamW's weight decay as you scale model and dataset size", 2024.
        """
        if self.weight_decay is not None:
            return self.weight_decay
        return DECAYED_STEPS / max(steps, DECAYED_STEPS)
