"""JSON: every object of a file is a row, however they stand in lines, and numbers keep their digits."""

import json

import pyarrow as pa
import pytest

from ingest import json_rows
from ingest.formats import read_file
from schema.files import SourceFiles

WANTED = {"user": "log.user", "n": "feature 'n'"}


def read(path, content: bytes, columns=WANTED, **section):
    path.write_bytes(content)
    separators = {"tags": "|"}
    batches = list(read_file(str(path), columns, separators, SourceFiles(files=("*",), **section)))
    rows = [
        cells
        for batch in batches
        for cells in zip(batch.rows.tolist(), *(batch.columns[name].to_pylist() for name in columns), strict=True)
    ]
    return rows, [(bad.row, bad.kind) for batch in batches for bad in batch.bad]


RECORDS = [{"user": f"u{i}", "n": i, "t": {"in": [1, {"x": "}{"}]}} for i in range(5)]
ROWS = [(f"u{i}", str(i)) for i in range(5)]


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(map(json.dumps, RECORDS)),
        "".join(map(json.dumps, RECORDS)),
        " ".join(map(json.dumps, RECORDS)) + "\n",
        ",\n".join(map(json.dumps, RECORDS)),
        json.dumps(RECORDS),
        json.dumps(RECORDS[:2]) + "\n" + json.dumps(RECORDS[2:]) + "\n",
        json.dumps(RECORDS, indent=2),
        "[\n" + ",\n".join(map(json.dumps, RECORDS)) + "\n]\n",
        "\n".join(json.dumps(record, indent=1) for record in RECORDS),
        "\r".join(map(json.dumps, RECORDS)),
        "\n\n" + "\r\n\r\n".join(map(json.dumps, RECORDS)),
        "\ufeff" + "\n".join(map(json.dumps, RECORDS)),
        "\ufeff" + json.dumps(RECORDS, indent=2),
    ],
    ids=range(13),
)
def test_objects_are_rows_however_they_are_written(tmp_path, content):
    rows, bad = read(tmp_path / "a.jsonl", content.encode())
    assert [row[1:] for row in rows] == ROWS
    assert bad == []


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_declared_encoding_is_read(tmp_path, encoding):
    content = "\n".join(json.dumps({"user": "José", "n": i}, ensure_ascii=False) for i in range(2))
    assert read(tmp_path / "a.json", content.encode(encoding), encoding=encoding)[0] == [
        (1, "José", "0"),
        (2, "José", "1"),
    ]


def test_what_is_no_object_is_one_bad_row_and_the_others_of_its_line_are_read(tmp_path):
    content = b'{"user":"a","n":1}\n{"user": "b", \n[1]\n3\n{"user":"c","n":2}{"user":"d","n":3}{"us\n{"user":"e"}\n'
    rows, bad = read(tmp_path / "a.jsonl", content)
    assert rows == [(1, "a", "1"), (5, "c", "2"), (5, "d", "3"), (6, "e", None)]
    assert bad == [
        (2, "not JSON"),
        (3, "expected an object, got list"),
        (4, "expected an object, got int"),
        (5, "not JSON"),
    ]


def test_a_list_that_is_cut_short_loses_its_last_object_and_says_so(tmp_path):
    text = json.dumps(RECORDS, indent=2)
    rows, bad = read(tmp_path / "a.json", text[: text.rindex("}{")].encode())
    assert [row[1:] for row in rows] == ROWS[:4]
    assert bad == [(5, "not JSON")]


def test_not_a_number_is_missing_and_infinity_is_not(tmp_path):
    content = b'{"user": "a", "n": NaN}\n{"user": "b", "n": Infinity}\n{"user": "c", "n": -Infinity}\n'
    assert [n for _, _, n in read(tmp_path / "a.jsonl", content)[0]] == [None, "Infinity", "-Infinity"]


def test_integers_of_any_size_keep_their_digits(tmp_path):
    numbers = ["18446744073709551616", "18446744073709551617", "123456789012345678901234567890", "9007199254740993"]
    content = "".join(f'{{"user": {number}, "n": {number}}}\n' for number in numbers)
    assert [user for _, user, _ in read(tmp_path / "a.jsonl", content.encode())[0]] == numbers


def test_half_of_a_character_costs_a_row_only_where_it_is_read(tmp_path):
    content = b'{"user": "a\\ud83d", "n": 1}\n{"user": "b", "n": 2, "t": "\\ud83d"}\n'
    rows, bad = read(tmp_path / "a.jsonl", content)
    assert (rows, bad) == ([(2, "b", "2")], [(1, "user: holds half of a character")])


def test_lists_stay_lists_beside_texts(tmp_path):
    content = b'{"tags": ["a|b", null, 2.0]}\n{"tags": "x|y"}\n{"tags": null}\n{}\n'
    rows, _ = read(tmp_path / "a.jsonl", content, {"tags": "feature 'tags'"})
    assert [tags for _, tags in rows] == [["a|b", None, "2.0"], ["x", "y"], None, None]


def test_keys_that_no_object_has_are_told_and_those_of_some_are_not(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"user": "a"}\n{"n": 1}\n')
    *_, last = read_file(str(tmp_path / "a.jsonl"), WANTED | {"gone": "task 'like'"})
    assert list(last.absent) == ["gone"]
    assert last.absent["gone"].endswith("which task 'like' needs; its columns are ['n', 'user']")


def test_batches_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(json_rows, "_ROWS", 2)
    (tmp_path / "a.jsonl").write_bytes("\n".join(map(json.dumps, RECORDS)).encode())
    assert [len(batch.rows) for batch in read_file(str(tmp_path / "a.jsonl"), WANTED)] == [2, 2, 1]


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b"[]\n"])
def test_files_without_rows_have_none(tmp_path, content):
    assert read(tmp_path / "a.jsonl", content) == ([], [])


def test_columns_are_arrow_texts(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"user": true, "n": 1.50}')
    (batch,) = read_file(str(tmp_path / "a.jsonl"), WANTED)
    assert batch.columns == {"user": pa.array(["true"]), "n": pa.array(["1.5"])}
