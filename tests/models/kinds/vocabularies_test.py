"""The vocabularies against `tft.vocabulary`'s on the same texts, and against what is worked out by hand."""

from collections.abc import Mapping
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform import beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from models.kinds.vocabularies import vocabularies

MAX_SIZE, MIN_FREQUENCY = 40, 2


def by_this_project(texts: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return vocabularies(texts, MAX_SIZE, MIN_FREQUENCY)


def by_tft(texts: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {
        name: tft.vocabulary(column, top_k=MAX_SIZE, frequency_threshold=MIN_FREQUENCY, vocab_filename=name)
        for name, column in texts.items()
    }


def lines(analysis, rows: list[dict[str, list[bytes]]], directory: Path) -> dict[str, list[bytes]]:
    """Returns what stands in the file of each vocabulary that the analysis of the rows writes."""
    names = list(rows[0])
    schema = schema_utils.schema_from_feature_spec({name: tf.io.RaggedFeature(tf.string) for name in names})

    def preprocess(inputs):
        files = analysis({name: inputs[name].flat_values for name in names})
        return {
            name: inputs[name].with_flat_values(tft.apply_vocabulary(inputs[name].flat_values, files[name]))
            for name in names
        }

    metadata = dataset_metadata.DatasetMetadata(schema)
    with beam.Pipeline() as pipeline, tft_beam.Context(temp_dir=str(directory / "beam")):
        data = pipeline | beam.Create(rows), metadata
        data | tft_beam.AnalyzeDataset(preprocess) | tft_beam.WriteTransformFn(str(directory / "graph"))
    output = tft.TFTransformOutput(str(directory / "graph"))
    return {name: Path(output.vocabulary_file_by_name(name)).read_bytes().split(b"\n")[:-1] for name in names}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, list[bytes]]]:
    """More texts than a vocabulary holds, many of them equally frequent; texts that are none; nothing but rare ones."""
    random = np.random.default_rng(7)
    drawn = [[b"t%d" % number for number in random.geometric(0.03, 3)] for _ in range(300)]
    odd = [[b""], [b"a\nb"] * 3, [b"c\r"] * 3, ["ü".encode()] * 3, []]
    return [
        {"many": texts, "odd": odd[index % len(odd)], "rare": [b"r%d" % index]} for index, texts in enumerate(drawn)
    ]


def test_the_files_are_those_of_tft(rows, tmp_path):
    actual = lines(by_this_project, rows, tmp_path / "found")
    expected = lines(by_tft, rows, tmp_path / "expected")
    assert actual["many"] == expected["many"]
    assert actual["odd"] == expected["odd"] == ["ü".encode()]
    # Nothing is frequent enough: an entry that no text is.
    assert len(actual["rare"]) == len(expected["rare"]) == 1


def test_the_most_frequent_come_first_and_of_equals_the_later_in_the_alphabet(tmp_path):
    texts = [b"b"] * 3 + [b"a"] * 2 + [b"c"] * 2 + [b"once"]
    rows = [{"letters": [text]} for text in texts]
    assert lines(by_this_project, rows, tmp_path) == {"letters": [b"b", b"c", b"a"]}
