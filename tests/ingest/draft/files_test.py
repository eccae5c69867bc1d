"""How files are written and named, and a draft as YAML."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.draft.draft import Draft, Entry, as_yaml, scalar
from ingest.draft.form import form_of, has_header
from ingest.draft.patterns import grouped, is_data, pattern_of
from ingest.errors import IngestError
from schema.loading import _SpecLoader


def form(name: str, text: str, encoding: str = "utf-8") -> dict:
    return form_of(name, text.encode(encoding), text.encode(encoding))[0]


ROWS = "user,item,click\nann,a,1\nbob,b,0\n"


def test_what_a_name_tells_is_not_said_again():
    assert form("log.csv", ROWS) == {}
    assert form("log.tsv", ROWS.replace(",", "\t")) == {}
    assert form("log.jsonl", '{"user": "ann"}\n{"user": "bob"}\n') == {}
    assert form_of("log.parquet", b"PAR1..", b"PAR1..")[0] == {}
    assert form_of("log.csv.gz", b"\x1f\x8b..", ROWS.encode())[0] == {}


def test_what_it_does_not_tell_is_declared():
    assert form("part-00000", ROWS) == {"format": "csv"}
    assert form("log.csv", ROWS.replace(",", ";")) == {"separator": ";"}
    assert form("log.csv", '{"user": "ann"}\n') == {"format": "jsonl"}
    assert form("log.csv", "1\t2\t3\n4\t5\t6\n") == {"separator": "\t", "header": False}
    assert form_of("log.csv", b"PAR1..", b"PAR1..")[0] == {"format": "parquet"}
    assert form_of("log.csv.gz", ROWS.encode(), ROWS.encode())[0] == {"compression": "none"}


def test_encodings_are_told_by_the_bytes():
    assert form("log.csv", ROWS.replace("ann", "Zoé"), "latin-1") == {"encoding": "latin-1"}
    assert form("log.csv", ROWS.replace("ann", "“Zoé”"), "cp1252") == {"encoding": "cp1252"}
    assert form("log.csv", ROWS, "utf-16") == {"encoding": "utf-16"}
    # A character that is cut at the end of what was read is none of latin-1.
    cut = ROWS.encode() + "é".encode()[:1]
    assert form_of("log.csv", cut, cut)[0] == {}


def test_bytes_that_are_no_text_are_refused_in_words_whatever_they_look_like():
    # Many zeros, as in UTF-16, and half of a surrogate pair.
    for binary in (b"\x00\xd8a\x00" * 20, b"\x01\x00\x00\x00" * 20):
        with pytest.raises(IngestError, match="epoch-4: holds neither text nor Parquet or Avro"):
            form_of("epoch-4", binary, binary)


def test_a_header_has_no_numbers_times_or_repeats():
    assert has_header([["user", "at"], ["ann", "2024-01-01"]])
    assert has_header([["a", "b"], ["x", "y"], ["x", "z"]])
    assert not has_header([["ann", "2024-01-01"], ["bob", "2024-01-02"]])
    assert not has_header([["ann", "view"], ["bob", "like"], ["ann", "view"]])
    assert not has_header([["x", "x"], ["y", "z"]])


def test_a_comma_in_text_is_no_separator_of_lines_of_semicolons():
    text = "id;text;n\n1;a, b;3\n2;c;4\n3;d, e, f;5\n"
    assert form("log.csv", text) == {"separator": ";"}


def test_patterns_name_files_that_differ_by_numbers():
    assert pattern_of("log_0425_0430.parquet") == "log_*.parquet"
    assert pattern_of("impressions-2026-01-01.csv.gz") == "impressions-*.csv.gz"
    assert pattern_of("2026-01-01/log-1.csv.bz2") == "log-*.csv.bz2"
    assert pattern_of("dt=2026-01-01/hour=03/part-00000.parquet") == "hour=*/part-*.parquet"
    assert pattern_of("part-3f2504e0-4f89-11d3-9a0c-0305e82c3301.parquet") == "part-*.parquet"
    assert pattern_of("a[1].csv") == "a?*?.csv"
    assert grouped(["b/log2.csv", "b/log1.csv", "u.data"]) == {
        "b/log*.csv": ["b/log1.csv", "b/log2.csv"],
        "u.data": ["u.data"],
    }


def test_what_lies_beside_data_is_none():
    assert [is_data(name) for name in ("log.csv", "README.md", "README", "x/license.txt", "plot.png")] == [True] + [
        False
    ] * 4


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=50, deadline=None)
@given(
    st.one_of(TEXTS, st.sampled_from(["NO", "1e5", "007", "null", "~", "2024-01-01", "5m", "a: b", "- x", "#", "on"]))
)
def test_each_text_is_read_back_from_yaml(text):
    read = yaml.load(f"key: {scalar(text)}\nlist: [{scalar(text)}, {{{scalar(text)}: 1}}]\n", Loader=_SpecLoader)
    assert read == {"key": text, "list": [text, {text: 1}]}


@settings(max_examples=50, deadline=None)
@given(TEXTS, TEXTS)
def test_what_the_data_says_never_ends_a_comment(why, doubt):
    draft = Draft("x", why, {"user": Entry("u", why, doubt)}, left_out=[("log", doubt, why)])
    read = yaml.load(as_yaml(draft), Loader=_SpecLoader)
    assert (read["name"], read["log"], read["features"]) == ("x", {"user": "u"}, [])
