"""The bottoms by name: what lies between the features and the routing."""

from collections.abc import Callable, Mapping

from models.bottoms.din import DinBottom
from models.bottoms.dtrn import DtrnBottom
from models.bottoms.plain import PlainBottom
from schema.spec import RankingSpec

# `build(spec, table_sizes, tasks, name)` returns a bottom for so many tasks.
BOTTOMS: dict[str, Callable[[RankingSpec, Mapping[str, int], int, str], PlainBottom]] = {
    "plain": lambda spec, sizes, tasks, name: PlainBottom(spec, sizes, name=name),
    "dtrn": lambda spec, sizes, tasks, name: DtrnBottom(spec, sizes, tasks, name=name),
    "din": lambda spec, sizes, tasks, name: DinBottom(spec, sizes, name=name),
}
