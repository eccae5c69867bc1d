"""The vocabularies of all columns of ids, in one analysis of Transform: `tft.vocabulary` is an analysis for each.

The files are those of `tft.vocabulary`: the texts that are frequent enough, those that occur most often first, of
equally frequent ones the later in the alphabet. A text that is empty or has a line break in it is in none.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform import analyzer_nodes, nodes
from tensorflow_transform.beam import experimental

# Which vocabulary, and a text.
Text = tuple[int, bytes]
# TensorFlow can't look anything up in an empty file.
_ONLY_ENTRY = b"49d0cd50-04bb-48c0-bc6f-5b575dce351a"


def vocabularies(texts: Mapping[str, tf.Tensor], max_size: int, min_frequency: int) -> dict[str, tf.Tensor]:
    """Returns the file of each vocabulary by name, for `tft.apply_vocabulary`.

    Args:
      texts: of each vocabulary those of the batch, `(n,)`.
      max_size: how many texts a vocabulary may hold.
      min_frequency: how often a text must occur.
    """
    # TFT names its nodes by scope; a second analysis gets scopes of its own.
    with tf.name_scope("vocabularies"):
        inputs = analyzer_nodes.get_input_tensors_value_nodes(list(texts.values()))
        with tf.name_scope("count"):
            counts = _apply(_CountTexts(), inputs, is_partitionable=True, cache_coder=_CountCoder())
        with tf.name_scope("sum"):
            counts = _apply(_SumCounts(), counts)
        with tf.name_scope("write"):
            asset = analyzer_nodes.TemporaryAssetInfo(_ONLY_ENTRY, "text")
            files = nodes.apply_multi_output_operation(
                analyzer_nodes.PTransform,
                counts,
                ptransform=_WriteVocabularies(list(texts), max_size, min_frequency),
                output_tensor_info_list=[analyzer_nodes.TensorInfo(tf.string, [], asset) for _ in texts],
                is_partitionable=False,
            )
    for name in texts:
        tft.annotate_asset(name, name)
    return {name: analyzer_nodes.wrap_as_tensor(file) for name, file in zip(texts, files, strict=True)}


def _apply(
    ptransform: beam.PTransform,
    values: nodes.ValueNode,
    is_partitionable: bool = False,
    cache_coder: analyzer_nodes.CacheCoder | None = None,
) -> nodes.ValueNode:
    """Returns the node of what the transform makes of the values, which no tensor holds."""
    (result,) = nodes.apply_multi_output_operation(
        analyzer_nodes.PTransform,
        values,
        ptransform=ptransform,
        output_tensor_info_list=[analyzer_nodes.TensorInfo(tf.string, None, None)],
        is_partitionable=is_partitionable,
        cache_coder=cache_coder,
    )
    return result


class _CountTexts(beam.PTransform):
    """Counts the texts of batches, which are a tuple of one array a vocabulary."""

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return batches | "CountInBatch" >> beam.FlatMap(_counts) | "Sum" >> beam.CombinePerKey(sum)

    def __repr__(self) -> str:
        # In the key by which TFT finds the analysis of a day again: Beam's has an address in memory.
        return f"<{type(self).__name__}>"


class _SumCounts(beam.PTransform):
    def expand(self, counts: beam.PCollection) -> beam.PCollection:
        return counts | "Sum" >> beam.CombinePerKey(sum)


class _WriteVocabularies(experimental.PTransformAnalyzer):
    """Writes the files; returns of each a collection of its path."""

    def __init__(self, names: Sequence[str], max_size: int, min_frequency: int):
        super().__init__()
        self._names, self._max_size, self._min_frequency = names, max_size, min_frequency

    def expand(self, counts: beam.PCollection) -> Any:
        files = [f"{self.base_temp_dir}/{name}" for name in self._names]
        least = self._min_frequency
        written = (
            counts
            | "Frequent" >> beam.Filter(lambda counted: counted[1] >= least)
            | "ByVocabulary" >> beam.Map(_by_vocabulary)
            | "MostFrequent" >> beam.combiners.Top.LargestPerKey(self._max_size)
            | "Write" >> beam.Map(_write, files)
        )
        paths = (
            counts.pipeline
            | "Paths" >> beam.Create([None])
            | "WriteEmpty"
            >> beam.FlatMap(_paths, files, beam.pvalue.AsIter(written)).with_outputs(*map(str, range(len(files))))
        )
        return tuple(paths[str(index)] for index in range(len(files)))


def _counts(batch: tuple[np.ndarray, ...]) -> Iterator[tuple[Text, int]]:
    for index, texts in enumerate(batch):
        for text, count in Counter(texts.tolist()).items():
            if text and b"\n" not in text and b"\r" not in text:
                yield (index, text), count


def _by_vocabulary(counted: tuple[Text, int]) -> tuple[int, tuple[int, bytes]]:
    (index, text), count = counted
    return index, (count, text)


def _write(vocabulary: tuple[int, list[tuple[int, bytes]]], files: Sequence[str]) -> int:
    index, counted = vocabulary
    _write_lines(files[index], [text for _, text in counted])
    return index


def _paths(_: None, files: Sequence[str], written: Iterable[int]) -> Iterator[Any]:
    """Returns the path of each file; writes those that nobody wrote, with an entry that no text is."""
    filled = set(written)
    for index, file in enumerate(files):
        if index not in filled:
            _write_lines(file, [_ONLY_ENTRY])
        yield beam.pvalue.TaggedOutput(str(index), np.array(file))


def _write_lines(path: str, lines: Sequence[bytes]) -> None:
    tf.io.gfile.makedirs(path.rpartition("/")[0])
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(b"".join(line + b"\n" for line in lines))


class _CountCoder(analyzer_nodes.CacheCoder):
    """How TFT keeps a day's count of a text."""

    def encode_cache(self, cache: tuple[Text, int]) -> bytes:
        (index, text), count = cache
        return b"%d %d %s" % (index, count, text)

    def decode_cache(self, encoded_cache: bytes) -> tuple[Text, int]:
        index, count, text = encoded_cache.split(b" ", 2)
        return (int(index), text), int(count)
