"""Crosses and look-ups: the raw columns that are made of an example's others, in training as in serving."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import tensorflow as tf

from models.kinds.base import Columns, Values
from schema.columns import MISSING, ExampleColumn, derived_columns, input_columns
from schema.derived import CROSSED, ENTRY, Derived
from schema.spec import RankingSpec

# In RE2, where a dot is no newline by itself: an entry's `=` and what follows, and its key and the `=`.
_FROM_VALUE, _UP_TO_VALUE = f"(?s){ENTRY}.*", f"(?s)^[^{ENTRY}]*{ENTRY}"


def derive(inputs: Columns, transformed: Values, spec: RankingSpec) -> dict[str, tf.Tensor]:
    """Returns the raw values of the spec's derived features, `(rows,)` by name, to be transformed in their turn.

    A cross is its features' values with `CROSSED` between them, of a missing one `MISSING`, of a bucketised number its
    bucket's id. A look-up is the value of the key's first entry in the map: NaN or `MISSING` where there is none.

    Args:
      inputs: raw columns; of a request to `rank` the user's have one row, the candidates' one each.
      transformed: the transformed values of the columns of `inputs`, by name.
    """
    columns = {column.name: column for column in input_columns(spec)}
    features = {column.name: column for column in derived_columns(spec)}

    def category(name: str) -> tf.Tensor:
        if columns[name].kind != "buckets":
            return inputs[name]
        return tf.strings.as_string(transformed[name])

    return {
        derived.name: _values(derived, features[derived.name], inputs, category, columns) for derived in spec.derive
    }


def _values(
    derived: Derived,
    column: ExampleColumn,
    inputs: Columns,
    category: Callable[[str], tf.Tensor],
    columns: Mapping[str, ExampleColumn],
) -> tf.Tensor:
    if derived.look_up is None:
        sides = {columns[name].side for name in derived.cross}
        values = [category(name) for name in derived.cross]
        return tf.strings.join(values if len(sides) == 1 else _of_one_shape(values), separator=CROSSED)
    entries = inputs[derived.look_up.map]
    if column.dtype == "string":
        return _looked_up(entries, category(derived.look_up.key), MISSING)
    return tf.strings.to_number(_looked_up(entries, category(derived.look_up.key), "nan"), tf.float32)


def _of_one_shape(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns the values, `(1,)` and `(rows,)`, all as `(rows,)`."""
    shape = reduce(tf.broadcast_dynamic_shape, map(tf.shape, values))
    return [tf.broadcast_to(column, shape) for column in values]


def _looked_up(entries: tf.RaggedTensor, keys: tf.Tensor, default: str) -> tf.Tensor:
    """Returns the text that a map's entries `key=value` have for a key, `(rows,)`.

    Args:
      entries: of one map for all keys, or of one for each; or as many as there are for one key.
    """
    flat = entries.flat_values
    maps = entries.with_flat_values(tf.strings.regex_replace(flat, _FROM_VALUE, ""))
    values = entries.with_flat_values(tf.strings.regex_replace(flat, _UP_TO_VALUE, ""))
    # Padding is an empty key, which nothing asks for; last comes what every key finds.
    is_key = (maps.to_tensor("") == keys[:, tf.newaxis]) & (keys != "")[:, tf.newaxis]
    is_match = tf.pad(is_key, [[0, 0], [0, 1]], constant_values=True)
    texts = values.to_tensor("")
    count = tf.shape(texts)[0]
    texts = tf.concat([texts, tf.fill([count, 1], default)], axis=1)
    rows = tf.minimum(tf.range(tf.shape(is_match)[0]), count - 1)
    return tf.gather_nd(texts, tf.stack([rows, tf.argmax(is_match, axis=1, output_type=tf.int32)], axis=1))
