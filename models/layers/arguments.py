"""Checks of layer arguments, and the two forms that a routing's inputs come in."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import tensorflow as tf

from models.layers.user_item_rows import UserItemRows

# The name under which the layers are registered with Keras.
PACKAGE = "fulcrum"

# One tensor that all tasks share, or one per task.
TaskInputs: TypeAlias = tf.Tensor | UserItemRows | Sequence[tf.Tensor]

LayerClass = TypeVar("LayerClass", bound=type[tf.keras.layers.Layer])


def named_in_files(name: str) -> Callable[[LayerClass], LayerClass]:
    """Returns a decorator that registers a layer with Keras by the name that users' files have for it.

    Configs name a layer as it is registered. Paths within `.keras` files, and a layer's name where it is given none,
    are made of the class's `__name__`, which therefore is that name as well. What Python shows is `__qualname__`.
    """

    def register(layer: LayerClass) -> LayerClass:
        layer.__name__ = name
        return tf.keras.utils.register_keras_serializable(PACKAGE, name)(layer)

    return register


def at_least(name: str, value: Any, minimum: int) -> int:
    """Returns `value` if it is an integer of at least `minimum`, else raises a ValueError that names it."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name}: expected an integer of at least {minimum}, got {value!r}")
    return value


def layer_sizes(name: str, value: Any, minimum: int = 1) -> tuple[int, ...]:
    """Returns `value` as a tuple of layer sizes; a single integer is a single layer."""
    sizes = (value,) if isinstance(value, int) else tuple(value)
    if len(sizes) < minimum:
        raise ValueError(f"{name}: expected at least {minimum} layer sizes, got {value!r}")
    for size in sizes:
        at_least(name, size, 1)
    return sizes


def expert_counts(value: Any, tasks: int) -> tuple[int, ...]:
    """Returns how many experts of its own each task has: `value` for all, or one count per task."""
    counts = (value,) * tasks if isinstance(value, int) else tuple(value)
    if len(counts) != tasks:
        raise ValueError(f"task_experts: expected one count or {tasks} (one per task), got {value!r}")
    return tuple(at_least("task_experts", count, 1) for count in counts)


def per_task(inputs: TaskInputs, tasks: int) -> list[tf.Tensor]:
    """Returns one tensor per task: a single tensor is every task's, a list has one for each."""
    if not isinstance(inputs, list | tuple):
        return [inputs] * tasks
    if len(inputs) != tasks:
        raise ValueError(
            f"inputs: expected one tensor or a list of {tasks} (one per task), got a list of {len(inputs)}"
        )
    return list(inputs)


def shared(inputs: TaskInputs, tasks: int) -> tf.Tensor:
    """Returns the tensor that all tasks share; where each task has its own, their mean."""
    if not isinstance(inputs, list | tuple):
        return inputs
    return tf.add_n(per_task(inputs, tasks)) / float(tasks)


def stacked(inputs: TaskInputs, tasks: int) -> tf.Tensor:
    """Returns what a pool of one network a task reads: a single tensor as it is, a list as `(tasks, batch, inputs)`."""
    return tf.stack(per_task(inputs, tasks)) if isinstance(inputs, list | tuple) else inputs


def by_level(flat: Sequence[Any], width: int, levels: int) -> list[Sequence[Any]]:
    """Returns a flat list of layers level by level: `width` in each but the last, which has the rest.

    Keras's `.keras` format does not look for weights in lists of lists.
    """
    below = [flat[level * width : (level + 1) * width] for level in range(levels - 1)]
    return [*below, flat[(levels - 1) * width :]]


def input_dim(shape: Any) -> int:
    """Returns the static size of the last axis."""
    size = tf.TensorShape(shape)[-1]
    if size is None:
        raise ValueError(f"inputs: expected a last axis of known size, got shape {tf.TensorShape(shape)}")
    return int(size)


def first_shape(shapes: Any) -> Any:
    """Returns the shape of a routing's input, or the first of those of a list of inputs, which all have one size."""
    several = isinstance(shapes, list | tuple) and isinstance(shapes[0], list | tuple | tf.TensorShape)
    return shapes[0] if several else shapes
