"""Which files a pattern names, and how their bytes become rows: links, brackets, compressions, Hive's folders."""

import bz2
import gzip
import io
import os
import warnings
import zipfile

import pyarrow as pa
import pytest

from ingest.errors import IngestError
from ingest.formats import partitions_of, read_file
from ingest.sources import matched
from schema.files import SourceFiles

CSV = b"user,n\na,1\n"


def names(folder, pattern: str) -> list[str]:
    return sorted(os.path.relpath(file.path, folder) for file in matched(str(folder), pattern))


def rows(path, **section) -> list:
    batches = list(read_file(str(path), {"user": "u", "n": "n"}, section=SourceFiles(files=("*",), **section)))
    return [tuple(map(bytes.decode, row.values())) for b in batches for row in pa.table(b.columns).to_pylist()]


def test_patterns_name_files_at_their_depth(tmp_path):
    for name in ("log.csv", "_hidden.csv", ".x.csv", "a/log.csv", "a/b/log.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(CSV)
    assert names(tmp_path, "*.csv") == ["log.csv"]
    assert names(tmp_path, "./log.csv") == ["log.csv"]
    assert names(tmp_path, "*/*.csv") == names(tmp_path, "a/*.csv") == names(tmp_path, "a/log.csv") == ["a/log.csv"]
    assert names(tmp_path, "**.csv") == ["a/b/log.csv", "a/log.csv", "log.csv"]
    assert names(tmp_path, "**/*.csv") == names(tmp_path, "**/log.csv") == ["a/b/log.csv", "a/log.csv", "log.csv"]
    assert names(tmp_path, "a/**/log.csv") == ["a/b/log.csv", "a/log.csv"]
    assert names(tmp_path, "gone/*.csv") == names(tmp_path / "gone", "*.csv") == []
    assert names(tmp_path / "a", "../*.csv") == ["../log.csv"]


def test_brackets_in_the_folders_name_are_brackets(tmp_path):
    logs = tmp_path / "run [1]*"
    logs.mkdir()
    (logs / "log[2].csv").write_bytes(CSV)
    assert names(logs, "log*.csv") == names(logs, "log[2].csv") == ["log[2].csv"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert names(tmp_path, "run [[]1]?/log*.csv") == ["run [1]*/log[2].csv"]


def test_links_are_followed_and_loops_end(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far/log.csv").write_bytes(CSV)
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "near.csv").symlink_to(tmp_path / "far/log.csv")
    (logs / "day").symlink_to(tmp_path / "far")
    (tmp_path / "far/up").symlink_to(logs)
    (logs / "self").symlink_to(logs)
    assert names(logs, "*.csv") == ["near.csv"]
    assert names(logs, "*/*.csv") == ["day/log.csv"]
    assert names(logs, "**.csv") == ["day/log.csv", "near.csv"]
    assert rows(logs / "day/log.csv") == [("a", "1")]


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "log.csv").symlink_to(tmp_path / "gone.csv")
    (file,) = matched(str(tmp_path), "*.csv")
    with pytest.raises(IngestError, match=r"log\.csv: can't be opened: No such file"):
        rows(file.path)


def zipped(data: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("part.csv", data)
    return sink.getvalue()


COMPRESS = {"gz": gzip.compress, "bz2": bz2.compress, "zstd": pa.Codec("zstd").compress, "zip": zipped}


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data).to_pybytes()


@pytest.mark.parametrize("kind", COMPRESS)
def test_compressed_files_are_read_under_any_name(tmp_path, kind):
    data = zstd(CSV) if kind == "zstd" else COMPRESS[kind](CSV)
    for name, section in (
        ("log.csv", {}),
        (f"log.csv.{'zst' if kind == 'zstd' else kind}", {}),
        ("log.part", {"format": "csv"}),
        ("log.dump", {"format": "csv", "compression": kind}),
    ):
        (tmp_path / name).write_bytes(data)
        assert rows(tmp_path / name, **section) == [("a", "1")], name


def test_streams_one_after_another_in_a_file_are_all_read(tmp_path):
    first, second = b"user,n\na,1\n", b"b,2\n"
    for name, data in (
        ("log.csv.gz", gzip.compress(first) + gzip.compress(second)),
        ("log.csv.bz2", bz2.compress(first) + bz2.compress(second)),
        ("log.csv.zst", zstd(first) + zstd(second)),
    ):
        (tmp_path / name).write_bytes(data)
        assert rows(tmp_path / name) == [("a", "1"), ("b", "2")], name


def test_no_compression_may_be_declared(tmp_path):
    (tmp_path / "log.csv.gz").write_bytes(CSV)
    assert rows(tmp_path / "log.csv.gz", compression="none") == [("a", "1")]
    with pytest.raises(IngestError, match=r"log\.csv\.gz: can't be read as gz"):
        rows(tmp_path / "log.csv.gz")


@pytest.mark.parametrize("name", ["log.txt", "log.log", "part-00000", "log.jsonl.2024-01-01"])
def test_a_declared_format_holds_for_any_name(tmp_path, name):
    (tmp_path / name).write_bytes(b'{"user": "a", "n": "1"}\n')
    (batch,) = read_file(str(tmp_path / name), {"user": "u"}, section=SourceFiles(files=("*",), format="jsonl"))
    assert batch.columns["user"].to_pylist() == ["a"]


def test_folders_name_columns(tmp_path):
    folder = tmp_path / "dt=2026-01-01/hour=03/city=S%C3%A3o Paulo/none=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir(parents=True)
    assert partitions_of(f"{folder}/x.csv") == {"dt": "2026-01-01", "hour": "03", "city": "São Paulo", "none": None}
    (folder / "log.csv").write_bytes(b"user,hour\na,7\nb,8\n")
    (folder / "log.jsonl").write_bytes(b'{"user": "a", "hour": "7"}\n{"user": "b"}\n')
    columns = dict.fromkeys(("user", "dt", "hour", "city"), "x")
    (batch,) = read_file(str(folder / "log.csv"), columns)
    assert batch.columns["dt"].to_pylist() == ["2026-01-01"] * 2
    assert batch.columns["city"].to_pylist() == ["São Paulo"] * 2
    # What a file says of a row itself goes before its folder.
    assert batch.columns["hour"].to_pylist() == [b"7", b"8"]
    assert batch.absent == {}
    of_json = list(read_file(str(folder / "log.jsonl"), columns))
    assert of_json[0].columns["hour"].to_pylist() == ["7", "03"]
    assert all(batch.absent == {} for batch in of_json)
