"""What the values of a column are to Transform and to the model, a class a kind.

A new kind of feature is a class here, a reader in `ingest.kinds`, and a line in `schema.features`.
"""

from models.kinds.ages import Ages
from models.kinds.base import Kind
from models.kinds.buckets import Buckets
from models.kinds.ids import Ids
from models.kinds.numbers import Numbers
from models.kinds.statistics import StatisticVectors
from models.kinds.vectors import Vectors
from schema.columns import ExampleColumn

KINDS: dict[str, Kind] = {
    "id": Ids(),
    "number": Numbers(),
    "buckets": Buckets(),
    "age": Ages(),
    "statistic": StatisticVectors(),
    "vector": Vectors(),
}


def kind_of(column: ExampleColumn) -> Kind:
    """Returns the kind of a column that the ranker reads."""
    return KINDS[column.kind]


__all__ = ["KINDS", "Kind", "kind_of"]
