"""A tiny data set: three people, four articles, an events log and both tables, in folders as the commands take them."""

from pathlib import Path

import pytest
import yaml

START = 1_500_000_000
SPEC = {
    "name": "tiny",
    "log": {
        "layout": "events",
        "files": "log*.csv",
        "user": "who",
        "item": "what",
        "timestamp": {"column": "at", "unit": "s"},
        "event": "did",
        "impression": "VIEW",
        "attribution_window": "1d",
    },
    "users": {"files": "people.csv", "key": "id"},
    "items": {"files": "articles.csv", "key": "id"},
    "features": [
        {"name": "country", "source": "log", "kind": "categorical"},
        {"name": "battery", "source": "log", "kind": "numeric"},
        {"name": "hour", "source": "log", "derive": "hour_of_day"},
        {"name": "band", "source": "users", "kind": "categorical"},
        {"name": "topic", "source": "items", "kind": "categorical"},
        {"name": "length", "source": "items", "kind": "numeric"},
        {"name": "tags", "source": "items", "kind": "multi"},
    ],
    "behaviours": [
        {"name": "viewed", "event": "VIEW", "max_length": 3},
        {"name": "liked", "event": "LIKE", "max_length": 2, "delay": "1m"},
    ],
    "tasks": [{"name": "like", "event": "LIKE"}, {"name": "share", "event": "SHARE", "exponent": 0.5}],
}
LOG = [
    ("ann", "a1", 0, "VIEW", "BR", "0.5"),
    ("ann", "a1", 10, "LIKE", "BR", ""),
    ("bob", "a1", 20, "VIEW", "", "0.9"),
    ("ann", "a2", 100, "VIEW", "US", "0.4"),
    ("ann", "a3", 100, "VIEW", "US", "0.3"),
    ("ann", "a3", 150, "LIKE", "PT", ""),
    ("ann", "gone", 4_000, "VIEW", "", "0.2"),
    ("bob", "a2", 5_000, "VIEW", "CA", ""),
    ("bob", "a2", 5_001, "SHARE", "CA", ""),
]
PEOPLE = ["id,band", "ann,young", "cid,old"]
ARTICLES = ["id,topic,length,tags", "a1,news,10,x|y", "a2,,20,", "a3,art,,x", "a4,art,40,y|x|z"]


def write_tiny(folder: Path) -> tuple[Path, Path]:
    """Writes the spec's file and the folder of the logs."""
    spec, logs = folder / "tiny.yaml", folder / "logs"
    spec.write_text(yaml.safe_dump(SPEC))
    logs.mkdir()
    rows = [f"{who},{what},{START + at},{did},{country},{battery}" for who, what, at, did, country, battery in LOG]
    header = "who,what,at,did,country,battery"
    # Two files that share people, as a log that is cut by day does.
    (logs / "log-1.csv").write_text("\n".join([header, *rows[:4]]) + "\n")
    (logs / "log-2.csv").write_text("\n".join([header, *rows[4:]]) + "\n")
    (logs / "people.csv").write_text("\n".join(PEOPLE) + "\n")
    (logs / "articles.csv").write_text("\n".join(ARTICLES) + "\n")
    return spec, logs


@pytest.fixture(scope="session")
def tiny_daily(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The tiny data set in daily folders, and a day after it, on which ann has grown old and sees a4."""
    folder = tmp_path_factory.mktemp("tiny_daily")
    spec, logs = write_tiny(folder)
    first, second = logs / "2017-07-14", logs / "2017-07-15"
    for day in (first, second):
        day.mkdir()
    for name in ("log-1.csv", "log-2.csv", "people.csv"):
        (logs / name).rename(first / name)
    (second / "log-1.csv").write_text(f"who,what,at,did,country,battery\nann,a4,{START + 90_000},VIEW,BR,0.1\n")
    (second / "people.csv").write_text("id,band\nann,old\n")
    return spec, logs


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The spec's file and the folder of the logs; not to be written to."""
    return write_tiny(tmp_path_factory.mktemp("tiny"))
