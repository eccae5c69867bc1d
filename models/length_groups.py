"""Behaviour sequences without most of their padding, for training: a batch's examples in groups of similar length.

A padded sequence costs as much as its `max_length`, though most are short: each position is gathered from the tables,
read, and its gradient scattered back. So the examples are sorted by the length of a behaviour's sequence, the longest
first, and cut into a few groups, each as wide as its longest needs. XLA compiles anew for every shape, so the groups'
sizes follow from the lengths in all examples; a batch that doesn't fit in has one group of everything.

Of such a behaviour a column is flat, `(positions, …)`, one group's rows after the other's. `masks` says how it is cut.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from models.features import PADDING
from schema.columns import model_columns
from schema.spec import RankingSpec

GROUPS = 4
# Groups begin at multiples of this share of the batch.
_CELLS = 32
# A batch exceeds a width with a probability of about e to minus this, at most.
_TAIL = 10.0


class SequenceLengths(NamedTuple):
    """How many examples have a behaviour's sequences of length 0, 1, …, and what comes into a batch with them.

    Those of a group that come together (`models.training.grouping`), an example and each that comes with it, itself
    too, are pairs: as many as examples, if each comes alone.
    """

    behaviour: str
    examples: tuple[float, ...]
    pairs: tuple[float, ...]


Lengths = tuple[SequenceLengths, ...]


class Group(NamedTuple):
    """So many of a batch's examples, in the order of their lengths, and how long their sequences may be."""

    rows: int
    width: int


def length_groups(lengths: SequenceLengths, batch: int) -> tuple[Group, ...]:
    """Returns the groups, `GROUPS` at most, that cover a batch with the fewest positions.

    Args:
      lengths: of what batches are drawn from.
      batch: the examples of a batch.
    """
    starts = sorted({round(batch * cell / _CELLS) for cell in range(_CELLS + 1)})
    widths = [_width(lengths, batch, start) for start in starts[:-1]]
    # The best cover of the first examples, by where it ends: its positions and its groups.
    best: dict[int, tuple[int, tuple[Group, ...]]] = {0: (0, ())}
    for _ in range(GROUPS):
        longer = dict(best)
        for first, (positions, groups) in best.items():
            for last in range(first + 1, len(starts)):
                group = Group(starts[last] - starts[first], widths[first])
                total = positions + group.rows * group.width
                if last not in longer or total < longer[last][0]:
                    longer[last] = total, (*groups, group)
        best = longer
    return best[len(starts) - 1][1]


def _width(lengths: SequenceLengths, batch: int, rank: int) -> int:
    """Returns the length, 1 at least, that hardly any batch exceeds with its sequence of this rank by length.

    Of longer ones a batch has `n` in the mean. If `g` of them come at a time, it has, with a probability of `exp(-t)`
    at most, more than

        n + sqrt(2 t n g) + t g / 3      t = `_TAIL`

    which is Bernstein's inequality. Groups differ in size: their mean over the examples is taken for `g`.
    """
    total = max(sum(lengths.examples), 1)
    for length in range(1, len(lengths.examples)):
        longer = sum(lengths.examples[length + 1 :])
        expected = batch * longer / total
        together = sum(lengths.pairs[length + 1 :]) / max(longer, 1)
        if expected + math.sqrt(2.0 * _TAIL * expected * together) + _TAIL * together / 3.0 <= rank:
            return length
    return len(lengths.examples) - 1


def grouped(
    features: Mapping[str, tf.Tensor | tf.RaggedTensor], spec: RankingSpec, batch: int, lengths: Lengths
) -> dict[str, tf.Tensor]:
    """Returns the columns of the behaviours in `lengths`, flat, and what says how they are cut.

    Args:
      features: parsed examples, `batch` of them.
    """
    if not lengths:
        return {}
    longest = {behaviour.name: behaviour.max_length for behaviour in spec.behaviours}
    groups = {of.behaviour: length_groups(of, batch) for of in lengths}
    splits = {behaviour: features[f"{behaviour}_age_s"].row_splits for behaviour in groups}
    sizes = {behaviour: rows[1:] - rows[:-1] for behaviour, rows in splits.items()}
    order = {behaviour: tf.argsort(size, direction="DESCENDING", stable=True) for behaviour, size in sizes.items()}
    # All behaviours together, so that there are two sets of shapes and no more.
    fits = tf.reduce_all([_fit(tf.gather(sizes[name], order[name]), groups[name]) for name in groups])
    result: dict[str, tf.Tensor] = {}
    for name in groups:
        indices = []
        for g, (first, group) in enumerate(zip(_firsts(groups[name]), groups[name], strict=True)):
            # All in the first group, and as many groups, where they don't fit.
            begin, rows = tf.where(fits, first, 0 if g == 0 else batch), tf.where(fits, group.rows, batch)
            width = tf.where(fits, group.width, longest[name])
            examples = order[name][begin : begin + rows]
            places = tf.range(width)[tf.newaxis]
            real = places < tf.gather(sizes[name], examples)[:, tf.newaxis]
            result[mask_name(name, g)] = real
            # What comes after the last position is the padding.
            index = tf.where(real, tf.gather(splits[name], examples)[:, tf.newaxis] + places, splits[name][-1])
            indices.append(tf.reshape(index, [-1]))
        result[order_name(name)] = tf.ensure_shape(order[name], [batch])
        result[ranks_name(name)] = tf.ensure_shape(tf.argsort(order[name]), [batch])
        for column in model_columns(spec):
            if column.behaviour == name:
                result[column.name] = _flat(features[column.name], column.model_width, tf.concat(indices, axis=0))
    return result


def _firsts(groups: Sequence[Group]) -> list[int]:
    """Returns where each group begins."""
    return [sum(group.rows for group in groups[:g]) for g in range(len(groups))]


def _fit(descending: tf.Tensor, groups: Sequence[Group]) -> tf.Tensor:
    """Returns whether sequences of these lengths, `(batch,)`, the longest first, fit into the groups."""
    return tf.reduce_all(tf.gather(descending, _firsts(groups)) <= [group.width for group in groups])


def _flat(values: tf.RaggedTensor, vector: int | None, index: tf.Tensor) -> tf.Tensor:
    flat = values.flat_values
    flat = flat if flat.dtype == tf.float32 else tf.cast(flat, tf.int32)
    if vector is not None:
        flat = tf.reshape(flat, [-1, vector])
    with_padding = tf.pad(flat, [[0, 1]] + [[0, 0]] * (flat.shape.rank - 1), constant_values=PADDING)
    return tf.gather(with_padding, index)


def mask_name(behaviour: str, group: int) -> str:
    """Returns the name of the feature that is true at a group's real positions, bool `(rows, width)`."""
    return f"{behaviour} (group {group})"


def order_name(behaviour: str) -> str:
    """Returns the name of the feature that has the examples in the order of their groups, int32 `(batch,)`."""
    return f"{behaviour} (order)"


def ranks_name(behaviour: str) -> str:
    """Returns the name of the feature that has each example's place in that order, int32 `(batch,)`."""
    return f"{behaviour} (ranks)"


def is_grouped(behaviour: str, features: Mapping[str, tf.Tensor]) -> bool:
    """Returns whether a behaviour's columns are flat."""
    return order_name(behaviour) in features


def masks(behaviour: str, features: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
    """Returns the mask of each group that has examples, `(rows, width)`, all of static shapes."""
    names = (mask_name(behaviour, g) for g in range(GROUPS))
    return [features[name] for name in names if name in features and features[name].shape[0] != 0]


def cut(flat: tf.Tensor, groups: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns a flat column, `(positions, …)`, by group, `(rows, width, …)`, for groups with these masks."""
    sizes = [mask.shape.num_elements() for mask in groups]
    return [
        tf.reshape(values, [*mask.shape, *flat.shape[1:]])
        for values, mask in zip(tf.split(flat, sizes), groups, strict=True)
    ]


def examples_by_group(behaviour: str, features: Mapping[str, tf.Tensor], of_examples: tf.Tensor) -> list[tf.Tensor]:
    """Returns what belongs to the examples, `(batch, …)`, by group, `(rows, …)`."""
    rows = [mask.shape[0] for mask in masks(behaviour, features)]
    return tf.split(tf.gather(of_examples, features[order_name(behaviour)]), rows)


def joined(
    behaviour: str, features: Mapping[str, tf.Tensor], by_group: Sequence[tf.Tensor], axis: int = 0
) -> tf.Tensor:
    """Returns what each group's examples, the axis `axis`, gave, in the batch's order; as it is, if not grouped."""
    if not is_grouped(behaviour, features):
        (of_all,) = by_group
        return of_all
    return tf.gather(tf.concat(by_group, axis=axis), features[ranks_name(behaviour)], axis=axis)


def flattened(behaviour: str, features: Mapping[str, tf.Tensor], padded: tf.Tensor) -> tf.Tensor:
    """Returns what stands in `padded (batch, max_length)` where each of the flat positions is, `(positions,)`."""
    groups = masks(behaviour, features)
    rows = examples_by_group(behaviour, features, padded)
    return tf.concat(
        [tf.reshape(group_rows[:, : mask.shape[1]], [-1]) for group_rows, mask in zip(rows, groups, strict=True)],
        axis=0,
    )
