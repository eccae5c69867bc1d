"""Drafts of whole folders, which `fulcrum check` passes: simulated and real logs, ratings, events, and odd files."""

import gzip
import json
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.check import check
from ingest.check_report import CheckReport
from ingest.draft.compose import Hints
from ingest.draft.draft import as_yaml
from ingest.draft.drafting import Drafted, draft_spec
from ingest.errors import IngestError
from schema.loading import load_spec
from schema.spec import RankingSpec
from simulation.logs import simulate

KUAIRAND = Path(__file__).parents[2] / "data" / "kuairand"
DESKDROP = Path(__file__).parents[4] / "shared" / "data" / "deskdrop"
START = 1_700_000_000


def drafted(folder: Path, tmp_path: Path, hints: Hints | None = None, **tables: str) -> tuple[RankingSpec, Drafted]:
    """Returns the spec that is drafted for a folder, as it is read back, and the draft."""
    draft = draft_spec("trial", str(folder), hints=hints, **tables)
    path = tmp_path / "drafted.yaml"
    path.write_text(as_yaml(draft.draft))
    return load_spec(path), draft


def checked(spec: RankingSpec, folder: Path) -> CheckReport:
    report = check(spec, str(folder))
    assert report.ok, [finding for finding in report.findings if finding.severity == "error"]
    return report


def features(spec: RankingSpec) -> dict[str, str]:
    return {feature.name: str(feature.kind or feature.derive) for feature in spec.features}


def ratings(folder: Path, header: bool, separator: str, name: str) -> None:
    """Writes what 60 people rated of 80 films, by chance from a fixed seed."""
    draw = random.Random(1)
    lines = [separator.join(["userId", "movieId", "rating", "timestamp"])] if header else []
    for user in range(1, 61):
        at = START + draw.randrange(10**6)
        for movie in draw.sample(range(1, 81), 20):
            at += draw.randrange(1, 100)
            lines.append(separator.join(map(str, (user, movie, draw.choice([1, 2, 3, 4, 4, 5]), at))))
    (folder / name).write_text("\n".join(lines) + "\n")


def test_simulated_logs(tmp_path):
    simulate(tmp_path / "logs", users=150, impressions=3_000, days=3, seed=1)
    spec, draft = drafted(tmp_path / "logs", tmp_path)
    checked(spec, tmp_path / "logs")
    assert spec.log.files == ("impressions-*.csv.gz",)
    assert (spec.log.user, spec.log.item) == ("user_id", "video_id")
    assert (spec.log.timestamp.column, spec.log.timestamp.unit) == ("timestamp", "ms")
    assert {task.name for task in spec.tasks} >= {"completion", "click", "like"}
    assert next(task for task in spec.tasks if task.name == "like").within.column == "clicked"
    # What is known only afterwards is no feature.
    assert {"play_ms", "like", "clicked"}.isdisjoint(feature.source_column for feature in spec.features)
    assert features(spec)["tags"] == "multi"
    assert [entry.keys for entry in spec.statistics.by] == [
        ("item",),
        ("author",),
        ("category",),
        ("user",),
        ("user", "category"),
    ]
    # The probabilities that the logs were drawn from lie beside them.
    assert draft.notes == ("not used: parameters.json, truth.parquet",)


def test_kuairand(tmp_path):
    spec, _ = drafted(KUAIRAND, tmp_path)
    checked(spec, KUAIRAND)
    assert spec.log.files == ("log_*.parquet",)
    assert (spec.users.key, spec.items.key) == ("user_id", "video_id")
    assert {task.name for task in spec.tasks} >= {"completion", "click", "long_view", "like"}
    assert "play_time_ms" not in {feature.source_column for feature in spec.features}
    assert features(spec)["author"] == "categorical"


@pytest.mark.skipif(not DESKDROP.exists(), reason="Deskdrop's zip is not beside the checkout")
def test_deskdrop(tmp_path):
    spec, _ = drafted(DESKDROP, tmp_path)
    checked(spec, DESKDROP)
    assert (spec.log.layout, spec.log.event, spec.log.impression) == ("events", "eventType", "VIEW")
    assert [task.name for task in spec.tasks] == ["like", "bookmark", "comment", "follow"]


def movies(folder: Path) -> None:
    ratings(folder, True, ",", "ratings.csv")
    titles = [f'{n},"Film {n}, The ({1960 + n % 50})",{"Drama|War" if n % 3 else "Comedy"}' for n in range(1, 81)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *titles]) + "\n")
    (folder / "links.csv").write_text("movieId,imdbId\n" + "".join(f"{n},0{114_000 + n}\n" for n in range(1, 81)))


def test_ratings_with_a_table_of_movies(tmp_path):
    movies(tmp_path)
    spec, draft = drafted(tmp_path, tmp_path)
    checked(spec, tmp_path)
    assert (spec.log.files, spec.items.files, spec.items.key) == (("ratings.csv",), ("movies.csv",), "movieId")
    assert features(spec) == {"hour": "hour_of_day", "weekday": "day_of_week", "genres": "multi"}
    assert [(task.name, task.task_kind) for task in spec.tasks] == [("high_rating", "binary"), ("rating", "unbounded")]
    assert ("items", "title", "another value in nearly every row") in draft.draft.left_out


def test_ratings_without_a_header(tmp_path):
    ratings(tmp_path, False, "\t", "u.data")
    (tmp_path / "u.user").write_text("".join(f"{n}|{20 + n % 9}|{'MF'[n % 2]}|1{n:04}\n" for n in range(1, 61)))
    spec, draft = drafted(tmp_path, tmp_path, Hints(files="u.data"), users="u.user")
    checked(spec, tmp_path)
    assert (spec.log.format, spec.log.separator, spec.log.header) == ("csv", "\t", False)
    assert spec.log.columns == ("user", "item", "rating", "timestamp")
    assert (spec.users.separator, spec.users.key) == ("|", "column_1")
    assert any("names are guesses" in doubt for _, doubt in draft.draft.doubts)


def events(folder: Path) -> None:
    draw = random.Random(1)
    rows = []
    for n in range(600):
        user, item, at = draw.randrange(30), draw.randrange(40), START + 100 * n
        rows.append(
            {"who": f"u{user}", "what": f"i{item}", "at": at, "did": "view", "device": draw.choice("abc"), "x": {}}
        )
        if draw.random() < 0.3:
            rows.append({"who": f"u{user}", "what": f"i{item}", "at": at + 30, "did": "like", "secs": 3})
    (folder / "events").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_events_in_a_file_whose_name_tells_no_format(tmp_path):
    events(tmp_path)
    spec, draft = drafted(tmp_path, tmp_path)
    checked(spec, tmp_path)
    assert (spec.log.layout, spec.log.format, spec.log.attribution_window) == ("events", "jsonl", 1_800)
    assert [task.event for task in spec.tasks] == ["like"]
    assert [behaviour.event for behaviour in spec.behaviours] == ["view", "like"]
    # What stands in the rows of feedback alone is missing where the impression is.
    assert features(spec) == {"device": "categorical", "hour": "hour_of_day", "weekday": "day_of_week"}
    assert ("log", "x", "holds objects, which can't be read") in draft.draft.left_out


def test_typed_times_and_vectors(tmp_path):
    draw = random.Random(1)
    size = 400
    table = {
        "user_id": [f"u{draw.randrange(30)}" for _ in range(size)],
        "item_id": [f"i{draw.randrange(40)}" for _ in range(size)],
        "ts": pa.array([(START + 60 * n) * 10**6 for n in range(size)], pa.timestamp("us")),
        "click": [draw.random() < 0.4 for _ in range(size)],
        "embedding": pa.array([[draw.random(), draw.random()] for _ in range(size)], pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(table), tmp_path / "log.parquet")
    spec, _ = drafted(tmp_path, tmp_path)
    checked(spec, tmp_path)
    assert (features(spec)["embedding"], spec.features[0].size) == ("vector", 2)


CLICKS = "user;item;click\n" + "".join(f"u{n % 20};i{n % 17};{int(n % 3 == 0)}\n" for n in range(200))


def test_a_log_without_times_is_split_by_user(tmp_path):
    (tmp_path / "log.csv").write_text(CLICKS)
    spec, _ = drafted(tmp_path, tmp_path)
    checked(spec, tmp_path)
    assert (spec.split.by, spec.log.separator) == ("user", ";")
    assert (spec.behaviours, spec.statistics, spec.log.request) == ((), None, None)


def test_daily_folders(tmp_path):
    logs = tmp_path / "logs"
    simulate(logs, users=60, impressions=1_500, days=3, daily=True, seed=1)
    spec, draft = drafted(logs, tmp_path)
    checked(spec, logs)
    assert draft.days
    assert spec.users is not None


def test_a_draft_is_the_same_each_time(tmp_path):
    movies(tmp_path)
    first = as_yaml(draft_spec("trial", str(tmp_path)).draft)
    assert as_yaml(draft_spec("trial", str(tmp_path)).draft) == first


def test_a_table_may_lie_elsewhere(tmp_path):
    movies(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    logs = tmp_path / "logs"
    logs.mkdir()
    shutil.move(tmp_path / "ratings.csv", logs)
    shutil.move(tmp_path / "movies.csv", elsewhere)
    spec, _ = drafted(logs, tmp_path, items=str(elsewhere / "movies.csv"))
    assert spec.items.files == (str(elsewhere / "movies.csv"),)
    checked(spec, logs)


def refusal(folder: Path, hints: Hints | None = None, **tables: str) -> str:
    with pytest.raises(IngestError) as error:
        draft_spec("trial", str(folder), hints=hints, **tables)
    return str(error.value)


def test_what_is_not_there_is_said_with_what_to_do(tmp_path):
    log = tmp_path / "log.csv"
    assert "does not exist" in refusal(tmp_path / "nowhere")
    assert "holds no file of rows" in refusal(tmp_path)
    log.write_text("a,b\n1.5,2.25\n2.5,3.75\n")
    assert "--user COLUMN and --item COLUMN" in refusal(tmp_path)
    log.write_text(CLICKS.replace("click", "colour").replace(";0", ";red").replace(";1", ";blue"))
    assert "--label COLUMN" in refusal(tmp_path)
    log.write_text(CLICKS)
    assert "--time item: holds no times" in refusal(tmp_path, Hints(time="item"))
    assert "--user who: the log has no such column; it has user, item, click" in refusal(tmp_path, Hints(user="who"))
    assert "--label x: the log has no such column" in refusal(tmp_path, Hints(labels=("x",)))
    assert "--items films.csv: no such file" in refusal(tmp_path, items="films.csv")
    assert "--files x*: matches no file" in refusal(tmp_path, Hints(files="x*"))


def test_columns_that_are_told_are_taken(tmp_path):
    (tmp_path / "log.csv").write_text(CLICKS.replace("user;item;click", "a;b;xyzzy"))
    spec, _ = drafted(tmp_path, tmp_path, Hints(user="b", item="a", labels=("xyzzy",)))
    assert (spec.log.user, spec.log.item, spec.tasks[0].column) == ("b", "a", "xyzzy")
    checked(spec, tmp_path)


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "log.csv").write_text(CLICKS)
    (tmp_path / "more.csv.gz").write_bytes(gzip.compress(CLICKS.encode() * 50)[:-20])
    (tmp_path / "x.parquet").write_bytes(b"PAR1nothing")
    assert any("x.parquet: can't be read as parquet" in note for note in draft_spec("trial", str(tmp_path)).notes)
    (tmp_path / "log.csv").write_text("1::2::3::4\n5::6::7::8\n")
    (tmp_path / "more.csv.gz").unlink()
    assert "cells are separated by '::', expected one character" in refusal(tmp_path)
