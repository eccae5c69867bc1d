"""`where`: rows of which its conditions don't hold are no use to the spec, and are counted, never bad."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner

from ingest.check import check
from ingest.check_json import as_json
from ingest.raw import RawBatch
from ingest.rows import parse
from pipeline.cli.main import app
from schema.condition import RowFilter
from schema.loading import SpecError, load_spec
from schema.spec import RankingSpec

T = 1_703_456_000
LOG = {"layout": "impressions", "files": "log*", "user": "user", "item": "item", "timestamp": {"column": "at"}}
DECLARED = {"name": "shop", "log": LOG, "tasks": [{"name": "click", "column": "click"}]}
HEADER = "user,item,at,click,tab,ms,bot"
ROWS = [
    "u1,v1,{},1,home,10,0",
    "u1,v2,{},0,follow,20,0",
    "u2,v1,{},0,,30,1",
    "u2,v3,{},1,home,,0",
    "u3,v2,{},0,search,50,",
]


def spec(where: object, **more) -> RankingSpec:
    return RankingSpec.model_validate(DECLARED | {"log": LOG | {"where": where}} | more)


def batch(rows: list[str] = ROWS) -> RawBatch:
    cells = [row.format(T + i).split(",") for i, row in enumerate(rows)]
    columns = {name: pa.array(column) for name, column in zip(HEADER.split(","), zip(*cells, strict=True), strict=True)}
    return RawBatch("log.csv", np.arange(len(rows)) + 2, columns)


def items_left(where: object) -> list[tuple[str, str]]:
    table, bad, _ = parse(spec(where), "log", batch())
    assert bad == []
    return list(zip(table["user"].to_pylist(), table["item"].to_pylist(), strict=True))


ALL = [("u1", "v1"), ("u1", "v2"), ("u2", "v1"), ("u2", "v3"), ("u3", "v2")]


@pytest.mark.parametrize(
    ("where", "places"),
    [
        ([], [0, 1, 2, 3, 4]),
        ({"column": "tab", "equals": "home"}, [0, 3]),
        ({"column": "tab", "in": ["home", "search"]}, [0, 3, 4]),
        ({"column": "tab", "in": "home"}, [0, 3]),
        ({"column": "tab", "not_in": ["home", "search"]}, [1, 2]),
        ({"column": "tab", "missing": False}, [0, 1, 3, 4]),
        ({"column": "tab", "missing": True}, [2]),
        ({"column": "bot"}, [2]),
        ({"column": "bot", "equals": 0}, [0, 1, 3]),
        ({"column": "bot", "equals": False}, [0, 1, 3]),
        ({"column": "ms", "at_least": 20}, [1, 2, 4]),
        ({"column": "ms", "above": 20}, [2, 4]),
        ({"column": "ms", "at_most": 20}, [0, 1]),
        ({"column": "ms", "below": 20}, [0]),
        ({"column": "ms", "in": [10, 50]}, [0, 4]),
        ([{"column": "tab", "equals": "home"}, {"column": "ms", "missing": False}], [0]),
    ],
)
def test_rows_are_read_of_which_every_condition_holds(where, places):
    assert items_left(where) == [ALL[index] for index in places]


def test_a_row_is_counted_by_the_first_condition_that_does_not_hold():
    where = [{"column": "tab", "in": ["home", "follow"]}, {"column": "bot", "equals": 0}, {"column": "ms", "above": 10}]
    _, _, unused = parse(spec(where), "log", batch())
    assert unused.by_reason() == {"where: not tab in ['home', 'follow']": 2, "where: not ms above 10": 2}


def test_what_else_is_wrong_with_a_row_that_is_left_out_makes_it_no_bad_one():
    rows = [*ROWS, ",v1,{},7,follow,1,0", ",v1,{},1,home,1,0"]
    table, bad, unused = parse(spec({"column": "tab", "equals": "home"}), "log", batch(rows))
    assert [(row.row, row.kind) for row in bad] == [(8, "user: the id is missing")]
    assert (table.num_rows, unused.by_reason().total()) == (2, 4)


def test_a_row_that_the_condition_cannot_judge_is_bad():
    where = [{"column": "ms", "above": 0}, {"column": "tab", "equals": "home"}]
    table, bad, unused = parse(spec(where), "log", batch(["u1,v1,{},1,home,often,0", *ROWS[1:]]))
    assert [(row.row, row.kind) for row in bad] == [(2, "ms: expected a number")]
    # v3 has no ms, which isn't above 0.
    assert (table.num_rows, unused.by_reason().total()) == (0, 4)


def test_an_event_that_the_filter_leaves_out_is_not_counted_twice():
    columns = {
        "user": pa.array(["u1", "u1", ""]),
        "item": pa.array(["v1", "v1", ""]),
        "at": pa.array([T, T + 1, T + 2]),
        "event": pa.array(["view", "open", "open"]),
        "app": pa.array(["a", "a", "b"]),
    }
    log = {"event": "event", "impression": "view", "attribution_window": "1d", "layout": "events"}
    declared = {
        "name": "shop",
        "log": LOG | log | {"where": {"column": "app", "equals": "a"}},
        "tasks": [{"name": "like", "event": "like"}],
    }
    table, bad, unused = parse(
        RankingSpec.model_validate(declared), "log", RawBatch("log.csv", np.arange(3) + 2, columns)
    )
    assert (table.num_rows, bad) == (1, [])
    assert unused.by_reason() == {"where: not app equals 'a'": 1, "the event 'open' is not in the spec": 1}


def test_check_counts_them_in_the_log_and_in_the_tables(tmp_path: Path):
    logs = tmp_path / "logs"
    logs.mkdir()
    rows = [row.format(T + i) for i, row in enumerate(ROWS * 8)]
    (logs / "log.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    (logs / "items.csv").write_text("id,state,color\nv1,live,red\nv2,gone,blue\nv1,gone,green\n")
    declared = DECLARED | {
        "log": LOG | {"where": {"column": "tab", "equals": "home"}},
        "items": {"files": "items.csv", "key": "id", "where": {"column": "state", "equals": "live"}},
        "features": [{"name": "color", "source": "items", "kind": "categorical"}],
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(declared))
    result = CliRunner().invoke(app, ["check", str(tmp_path / "spec.yaml"), "--logs", str(logs), "--json"])
    report = json.loads(result.stdout)
    assert report["inputs"] == {
        "log": {"rows": 40, "quarantined": 0, "unused": 24, "reasons": {"where: not tab equals 'home'": 24}},
        "items": {"rows": 3, "quarantined": 0, "unused": 2, "reasons": {"where: not state equals 'live'": 2}},
    }
    assert report["examples"] == 16
    assert report["tasks"]["click"] == {"examples": 16, "in_space": 16, "positives": 16}
    assert report["columns"]["color"]["values"] == ["red"]


def test_a_column_that_no_file_has_is_named(tmp_path: Path):
    (tmp_path / "log.csv").write_text("\n".join([HEADER, *[row.format(T) for row in ROWS]]) + "\n")
    report = as_json(check(spec({"column": "country", "equals": "BR"}), str(tmp_path)))
    assert "has no column 'country', which log.where[0] needs" in report["findings"][0]["message"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{column: tab, in: [NO, home]}", "NO is read as true or false here; quote it"),
        ("{column: tab, in: []}", "log.where[0].in: "),
        ("{column: tab, in: [1, home]}", "log.where[0]: `in`: expected texts or numbers, got both: [1, 'home']"),
        ("{column: tab, in: [[a]]}", "log.where[0].in[0]: expected text, a number, true or false"),
        ("{column: tab, in: [a], missing: false}", "log.where[0]: expected one comparison, got in and missing"),
        ("{event: view}", "log.where[0]: got `event`, expected `column`"),
        ("{equals: a}", "log.where[0]: expected exactly one of `event` or `column`, got none"),
        ("{column: tab, is: a}", "log.where[0].is: unknown key, got 'a' (str); expected one of"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(tmp_path, line, said):
    text = yaml.safe_dump(DECLARED).replace("log:\n", f"log:\n  where:\n  - {line}\n")
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(SpecError) as error:
        load_spec(tmp_path / "spec.yaml")
    assert said in str(error.value)


def test_a_filter_travels_as_json():
    declared = spec([{"column": "tab", "in": ["home"]}, {"column": "bot", "not_in": [1]}])
    assert RankingSpec.from_json(declared.to_json()) == declared
    assert [condition.words for condition in declared.log.where] == ["tab in ['home']", "bot not in [1]"]


def test_a_filter_is_of_a_column():
    with pytest.raises(ValidationError):
        RowFilter.model_validate({"event": "view"})
