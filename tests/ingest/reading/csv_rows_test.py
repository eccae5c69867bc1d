"""CSV: each row of a file is read or left out with its number, whatever quotes and ends of lines do."""

import csv
import gzip
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import csv_rows
from ingest.errors import IngestError
from ingest.formats import read_file
from schema.files import SourceFiles

WANTED = {"user": "log.user", "n": "feature 'n'"}


def read(path: Path, content: bytes, **section) -> tuple[list[tuple], list[tuple[int, str]]]:
    """Returns the cells of `user` and `n` with their row's number, and the number and reason of each bad row."""
    path.write_bytes(content)
    batches = list(read_file(str(path), WANTED, section=SourceFiles(files=("*",), **section)))
    rows = []
    for batch in batches:
        cells = [
            [None if cell is None else cell.decode() for cell in batch.columns[name].to_pylist()] for name in WANTED
        ]
        rows += list(zip(batch.rows.tolist(), *cells, strict=True))
    return rows, [(bad.row, bad.kind) for batch in batches for bad in batch.bad]


def lines(count: int, title: dict[int, str]) -> bytes:
    rows = [f"u{i},{title.get(i, 'plain')},{i},x" for i in range(count)]
    return ("user,title,n,tab\n" + "\n".join(rows) + "\n").encode()


def test_a_stray_quote_costs_its_own_row_and_no_other(tmp_path):
    content = lines(40, {5: '"open', 11: 'shut"', 20: '"open', 26: '"open', 33: '12" vinyl'})
    rows, bad = read(tmp_path / "a.csv", content)
    assert bad == [(7, "a quote is not closed"), (22, "a quote is not closed"), (28, "a quote is not closed")]
    assert [row for row, _, _ in rows] == [row for row in range(2, 42) if row not in (7, 22, 28)]
    assert all((user, n) == (f"u{row - 2}", str(row - 2)) for row, user, n in rows)


def test_rows_between_two_stray_quotes_stay_rows_though_one_of_them_is_broken(tmp_path):
    content = lines(12, {2: '"open', 9: 'shut"'}).replace(b"u5,plain,5,x", b"u5")
    rows, bad = read(tmp_path / "a.csv", content)
    assert bad == [(4, "a quote is not closed"), (7, "expected 4 columns, got 1")]
    assert len(rows) == 10


def test_newlines_in_quoted_cells_are_text(tmp_path):
    text = {1: '"two\nlines"', 3: '"a ""quoted"" one,\r\n\r\nwith, commas\nand ""more"""', 4: '"one, line"'}
    rows, bad = read(tmp_path / "a.csv", lines(6, text))
    assert bad == []
    assert [row for row, _, _ in rows] == [2, 3, 4, 5, 6, 7]
    assert [user for _, user, _ in rows] == [f"u{i}" for i in range(6)]


def test_a_quoted_row_of_another_width_is_one_bad_row(tmp_path):
    rows, bad = read(tmp_path / "a.csv", lines(4, {1: '"two\nlines",more'}))
    assert bad == [(3, "expected 4 columns, got 5")]
    assert len(rows) == 3


def test_a_quote_that_is_open_at_the_end_of_the_file_is_told(tmp_path):
    rows, bad = read(tmp_path / "a.csv", lines(5, {4: '"open'}))
    assert (len(rows), bad) == (4, [(6, "a quote is not closed")])


@pytest.mark.parametrize("block", [64, 200, 1 << 20])
def test_blocks_of_any_size_give_the_same_rows(tmp_path, monkeypatch, block):
    text = {3: '"open', 5: '"in\ntwo lines"', 8: '"with, comma"', 11: 'shut"', 13: '"open'}
    expected = read(tmp_path / "a.csv", lines(20, text))
    assert len(expected[0]) == 18
    monkeypatch.setattr(csv_rows, "_BLOCK", block)
    assert read(tmp_path / "a.csv", lines(20, text)) == expected


def test_an_open_quote_is_not_followed_further_than_the_longest_row(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "_BLOCK", 256)
    monkeypatch.setattr(csv_rows, "_LONGEST_ROW", 1_000)
    rows, bad = read(tmp_path / "a.csv", lines(500, {3: '"open'}))
    assert (len(rows), bad) == (499, [(5, "a quote is not closed")])


# With more commas the lines of a cell could look like rows.
cells = st.text(st.sampled_from('ab"\n, ;'), max_size=6).filter(lambda text: text.count(",") <= 1)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_what_a_writer_of_csv_quotes_is_read_back(tmp_path_factory, pairs, end):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(["user", "first", "second", "n", "tab"])
    writer.writerows([f"u{i}", *pair, i, "x"] for i, pair in enumerate(pairs))
    rows, bad = read(tmp_path_factory.mktemp("csv") / "a.csv", text.getvalue().encode())
    assert bad == []
    assert [(user, n) for _, user, n in rows] == [(f"u{i}", str(i)) for i in range(len(pairs))]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(st.sampled_from('a"'), max_size=6), min_size=1, max_size=12))
def test_no_line_is_lost_whatever_quotes_do(tmp_path_factory, titles):
    content = lines(len(titles), dict(enumerate(titles)))
    rows, bad = read(tmp_path_factory.mktemp("csv") / "a.csv", content)
    numbers = sorted([row for row, _, _ in rows] + [row for row, _ in bad])
    assert numbers == list(range(2, 2 + len(titles)))
    plain = {f"u{i}" for i, title in enumerate(titles) if '"' not in title}
    assert plain <= {user for _, user, _ in rows}


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\n\n", "\r\n\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_lines_may_end_in_any_way(tmp_path, end, last):
    content = end.join(["user,n", "a,1", "b,2", "c,3"]) + (end if last else "")
    rows, bad = read(tmp_path / "a.csv", content.encode())
    assert (rows, bad) == ([(2, "a", "1"), (3, "b", "2"), (4, "c", "3")], [])


@pytest.mark.parametrize("content", [b"", b"user,n", b"user,n\n", b"\xef\xbb\xbfuser,n\r\n"])
def test_files_without_rows_have_none(tmp_path, content):
    assert read(tmp_path / "a.csv", content) == ([], [])


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    assert read(tmp_path / "a.csv", b"\xef\xbb\xbfuser,n\na,1\n")[0] == [(2, "a", "1")]


@pytest.mark.parametrize(
    ("name", "separator", "section"),
    [
        ("a.tsv", "\t", {}),
        ("a.tsv.gz", "\t", {}),
        ("a.csv", ";", {"separator": ";"}),
        ("a.log", "|", {"separator": "|", "format": "csv"}),
        ("part-00000", "\x01", {"separator": "\x01", "format": "csv"}),
    ],
)
def test_a_separator_goes_by_the_name_or_is_declared(tmp_path, name, separator, section):
    content = separator.join(["user", "n"]) + "\n" + separator.join(["a,b", '"1"']) + "\n"
    stored = gzip.compress(content.encode()) if name.endswith(".gz") else content.encode()
    assert read(tmp_path / name, stored, **section)[0] == [(2, "a,b", "1")]


def test_without_a_header_the_columns_are_declared_and_rows_count_from_one(tmp_path):
    rows, bad = read(tmp_path / "a.csv", b"a,x,1\nb,y\nc,z,3\n", header=False, columns=("user", "t", "n"))
    assert rows == [(1, "a", "1"), (3, "c", "3")]
    assert bad == [(2, "expected 3 columns, got 2")]


def test_without_quotes_a_quote_is_a_character(tmp_path):
    rows, bad = read(tmp_path / "a.csv", b'user,n\n"a,1\nb","2"\n', quotes=False)
    assert (rows, bad) == ([(2, '"a', "1"), (3, 'b"', '"2"')], [])


def test_columns_may_stand_in_another_order_and_more_than_one_may_be_absent(tmp_path):
    assert read(tmp_path / "a.csv", b"x,n,user\n0,1,a\n")[0] == [(2, "a", "1")]
    (batch,) = read_file(str(tmp_path / "a.csv"), {"new": "feature 'new'", "gone": "feature 'gone'"})
    assert batch.columns == {"new": pa.nulls(1, pa.binary()), "gone": pa.nulls(1, pa.binary())}
    assert list(batch.absent) == ["new", "gone"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"user;n\na;1\n", "is the separator ';'? Then declare `separator: ';'`"),
        (b"a,1\nb,2\n", "does it have no header? Then declare `header: false` and `columns`"),
    ],
)
def test_a_header_that_is_none_is_told_with_what_to_declare(tmp_path, content, said):
    (tmp_path / "a.csv").write_bytes(content)
    batch = next(read_file(str(tmp_path / "a.csv"), WANTED))
    assert said in batch.absent["user"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le"])
def test_a_declared_encoding_is_read(tmp_path, encoding):
    content = "user,n\nJosé,1\nZoë,2\n".encode(encoding)
    assert read(tmp_path / "a.csv", content, encoding=encoding)[0] == [(2, "José", "1"), (3, "Zoë", "2")]


def test_bytes_that_look_like_utf16_are_told(tmp_path):
    with pytest.raises(IngestError, match="looks like UTF-16, expected UTF-8 or a declared `encoding: utf-16`"):
        read(tmp_path / "a.csv", "user,n\na,1\n".encode("utf-16"))
    with pytest.raises(IngestError, match="can't be decoded as ascii"):
        read(tmp_path / "a.csv", "user,n\né,1\n".encode(), encoding="ascii")


def test_a_header_that_csv_cannot_read_is_told(tmp_path):
    with pytest.raises(IngestError, match=r"a\.csv: the header can't be read: .*field"):
        read(tmp_path / "a.csv", b"user," + b"n" * 200_000 + b"\na,1\n")
