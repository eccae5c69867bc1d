"""The bottoms by name: what lies between the features and the routing."""

from collections.abc import Callable, Mapping

from models.bottoms.dtrn import TaskEncoder
from models.bottoms.plain import FeatureEncoder
from schema.spec import RankingSpec

# `build(spec, table_sizes, tasks, name)` gives an encoder for so many tasks: `FeatureEncoder` or one of its kind.
BOTTOMS: dict[str, Callable[[RankingSpec, Mapping[str, int], int, str], FeatureEncoder]] = {
    "plain": lambda spec, sizes, tasks, name: FeatureEncoder(spec, sizes, name=name),
    "dtrn": lambda spec, sizes, tasks, name: TaskEncoder(spec, sizes, tasks, name=name),
}
