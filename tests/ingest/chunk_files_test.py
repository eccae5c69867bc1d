"""Chunks in files, of which a shuffle holds the places alone."""

import pickle
from pathlib import Path

import pytest

from ingest.chunk_files import ChunkFiles, data_of
from ingest.errors import LostRowsError

LONG = [bytes([number]) * (600 + number) for number in range(5)]


def test_what_was_put_comes_back_in_any_order_while_the_file_is_open(tmp_path):
    files = ChunkFiles(f"{tmp_path}/chunks")
    places = [files.put(data) for data in LONG]
    assert all(isinstance(place, tuple) for place in places)
    assert [data_of(place) for place in reversed(places)] == LONG[::-1]
    files.close()
    assert data_of(places[2]) == LONG[2]


def test_each_copy_of_a_step_has_a_file_of_its_own(tmp_path):
    copies = [pickle.loads(pickle.dumps(ChunkFiles(str(tmp_path)))) for _ in range(2)]
    places = [copy.put(data) for data in LONG for copy in copies]
    assert [data_of(place) for place in places] == [data for data in LONG for _ in copies]
    assert len(list(tmp_path.iterdir())) == 2
    for copy in copies:
        copy.close()


def test_short_data_and_data_without_a_folder_stay_as_they_are(tmp_path):
    assert ChunkFiles(None).put(LONG[0]) == LONG[0]
    assert ChunkFiles(str(tmp_path)).put(b"short") == b"short"
    assert list(tmp_path.iterdir()) == []


def test_where_no_file_can_be_written_chunks_stay_in_memory(tmp_path):
    (tmp_path / "file").write_text("")
    assert ChunkFiles(f"{tmp_path}/file/chunks").put(LONG[0]) == LONG[0]


def test_a_file_that_is_cut_or_gone_is_an_error_with_its_name(tmp_path):
    files = ChunkFiles(str(tmp_path))
    place = files.put(LONG[0])
    files.close()
    path = Path(place[0])
    path.write_bytes(LONG[0][:10])
    with pytest.raises(LostRowsError, match=f"{path}: of what .* expected 600 bytes at 0, got 10"):
        data_of(place)
    path.unlink()
    with pytest.raises(LostRowsError, match=f"{path}: what ingest shuffles can't be read: No such file"):
        data_of(place)
