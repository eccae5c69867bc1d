"""A Transform whose workers saw none of the examples fails, and doesn't leave an empty split to the Trainer."""

from pathlib import Path

import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.transform.executor import LostExamplesError, check_not_lost


def artifact_of(folder: Path, rows: dict[str, int]) -> standard_artifacts.Examples:
    """Returns an artifact with a file a split, of so many rows."""
    artifact = standard_artifacts.Examples()
    artifact.uri, artifact.split_names = str(folder), str(list(rows)).replace("'", '"')
    for split, count in rows.items():
        (folder / f"Split-{split}").mkdir(parents=True)
        with tf.io.TFRecordWriter(str(folder / f"Split-{split}" / "rows.gz"), "GZIP") as writer:
            for row in range(count):
                writer.write(str(row).encode())
    return artifact


def test_a_split_that_lost_all_its_rows_is_named_with_both_places(tmp_path):
    examples = artifact_of(tmp_path / "examples", {"train": 3, "eval": 1, "test": 1})
    transformed = artifact_of(tmp_path / "transformed", {"train": 2, "eval": 0})
    with pytest.raises(LostExamplesError) as lost:
        check_not_lost(examples, transformed)
    assert str(lost.value).startswith(f"eval: expected its examples, which are in {tmp_path}/examples/Split-eval")
    assert f"{tmp_path}/transformed/Split-eval" in str(lost.value)


def test_a_split_without_a_file_is_lost_too(tmp_path):
    examples = artifact_of(tmp_path / "examples", {"train": 3})
    transformed = artifact_of(tmp_path / "transformed", {"train": 3})
    check_not_lost(examples, transformed)
    (tmp_path / "transformed" / "Split-train" / "rows.gz").unlink()
    with pytest.raises(LostExamplesError):
        check_not_lost(examples, transformed)


def test_nothing_is_lost_of_a_split_that_was_empty(tmp_path):
    check_not_lost(artifact_of(tmp_path / "examples", {"eval": 0}), artifact_of(tmp_path / "transformed", {"eval": 0}))
