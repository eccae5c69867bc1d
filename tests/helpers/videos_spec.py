"""A small spec whose requests have each kind of column, of each side."""

from schema.spec import RankingSpec

SPEC = RankingSpec.model_validate(
    {
        "name": "videos",
        "log": {
            "layout": "impressions",
            "files": "log.csv",
            "user": "user",
            "item": "item",
            "timestamp": {"column": "at", "unit": "s"},
        },
        "users": {"files": "users.csv", "key": "user"},
        "items": {"files": "items.csv", "key": "item"},
        "features": [
            {"name": "country", "source": "users", "kind": "categorical"},
            {"name": "battery", "source": "log", "kind": "numeric"},
            {"name": "price", "source": "items", "kind": "numeric"},
            {"name": "tags", "source": "items", "kind": "multi"},
            {"name": "cover", "source": "items", "kind": "vector", "size": 2},
        ],
        "behaviours": [{"name": "clicked", "column": "click", "max_length": 3}],
        "tasks": [
            {"name": "view", "column": "play_ms", "at_least": 10},
            {"name": "click", "column": "click", "exponent": 2.0},
        ],
    }
)
