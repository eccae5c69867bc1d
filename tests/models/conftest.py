"""A small ranking spec with every kind of column, and examples of it on disk, raw and through Transform."""

from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.public import tfxio

from models.features import table_sizes
from models.layers import ConditionalTransformer, MaskedAttention
from models.preprocessing import preprocessing_fn
from models.ranker import Ranker
from models.training import reading
from models.training.optimizer import LazyAdam
from schema.columns import MISSING, example_columns, model_columns
from schema.example_schema import example_schema
from schema.spec import RankingSpec

COUNTS = {"train": 300, "eval": 100}
# Plain Adam: what is tested is what a test turns on.
PLAIN = {
    "schedule": "constant",
    "averaging": 0.0,
    "dropout": 0.0,
    "id_mask": 0.0,
    "weight_decay": 0.0,
    "stop_by": "loss",
}
# What the recipe does in a step, and by what it chooses the epoch.
RECIPE = {
    "schedule": "cosine",
    "warmup": 2,
    "averaging": 0.9,
    "dropout": 0.1,
    "embedding_dropout": 0.1,
    "id_mask": 0.1,
    "embedding_l2": 1e-3,
    "weight_decay": 0.1,
    "clip_norm": 0.1,
    "ratio_loss": "cross_entropy",
    "stop_by": "metrics",
}


@pytest.fixture(scope="session")
def spec() -> RankingSpec:
    return RankingSpec.model_validate(
        {
            "name": "tiny",
            "log": {
                "layout": "impressions",
                "files": "*.csv",
                "user": "user",
                "item": "item",
                "timestamp": {"column": "time"},
            },
            "users": {"files": "users.csv", "key": "user"},
            "items": {"files": "items.csv", "key": "item"},
            "features": [
                {"name": "hour", "source": "log", "derive": "hour_of_day"},
                {"name": "activity", "source": "users", "kind": "numeric"},
                {"name": "followers", "source": "users", "kind": "numeric", "scale": "log"},
                {"name": "author", "source": "items", "kind": "categorical"},
                {"name": "length", "source": "items", "kind": "numeric", "scale": "buckets", "buckets": 4},
                {"name": "price", "source": "items", "kind": "numeric"},
                {"name": "tags", "source": "items", "kind": "multi", "vocabulary": "tag"},
                {"name": "topic", "source": "items", "kind": "categorical", "vocabulary": "tag"},
                {"name": "embedding", "source": "items", "kind": "vector", "size": 3},
            ],
            "behaviours": [
                {"name": "watched", "column": "watched", "max_length": 8},
                {"name": "liked", "column": "liked", "max_length": 4},
            ],
            "tasks": [
                {"name": "click", "column": "click"},
                {
                    "name": "completion",
                    "ratio": {"numerator": "played", "denominator": "length"},
                    "within": {"column": "click"},
                },
                {"name": "like", "column": "liked", "within": {"column": "click"}, "weight": {"decay": 0.5}},
            ],
            "model": {
                "levels": 2,
                "expert_units": [8],
                "tower_units": [4],
                "embedding_dim": 4,
                "min_frequency": 2,
                "oov_buckets": 2,
            },
            "training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.02, "patience": 3, **PLAIN},
        }
    )


def random_examples(spec: RankingSpec, count: int, seed: int) -> list[bytes]:
    """Serialised examples: users whose number is even click and like more, so that there is something to learn."""
    random, random_vectors = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    lengths = {behaviour.name: behaviour.max_length for behaviour in spec.behaviours}
    result = []
    for i in range(count):
        user = int(random.integers(20))
        sizes = {name: int(random.integers(length + 1)) for name, length in lengths.items()}
        click = random.random() < (0.9 if user % 2 == 0 else 0.1)
        example = tf.train.Example()
        for column in example_columns(spec):
            size = sizes.get(column.behaviour, 1)
            if column.ragged and column.width is None:
                size = sizes.get(column.behaviour, int(random.integers(4)))
            feature = example.features.feature[column.name]
            if column.name == "user_id":
                feature.bytes_list.value.append(f"u{user}".encode())
            elif column.role == "timestamp":
                feature.int64_list.value.append(1_700_000_000 + i)
            elif column.role == "space":
                feature.float_list.value.append(float(column.name == "space_click" or click))
            elif column.role == "label":
                chance = random.random()
                value = chance if column.name == "label_completion" else chance < (0.7 if user % 2 == 0 else 0.2)
                value = click if column.name == "label_click" else float(value) * click
                feature.float_list.value.append(float(value))
            elif column.dtype == "string":
                values = [f"{column.vocabulary}{random.integers(12)}" for _ in range(size)]
                feature.bytes_list.value.extend((MISSING if i % 17 == 0 else value).encode() for value in values)
            elif column.width is not None:
                vectors = random_vectors.normal(5.0, 2.0, [size, column.width])
                vectors[random_vectors.random(size) < 0.1] = np.nan
                feature.float_list.value.extend(vectors.reshape(-1))
            else:
                values = random.lognormal(2.0, 1.0, size)
                if column.feature is not None and i % 11 == 0:
                    values = np.full(size, np.nan)
                feature.float_list.value.extend(values)
        result.append(example.SerializeToString())
    return result


def write_records(path: Path, records: list[bytes]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in records:
            writer.write(record)
    return str(path)


@dataclass(frozen=True)
class Transformed:
    """Where the examples lie: `raw` serialised ones by split, `examples` patterns by split, and the Transform graph."""

    raw: dict[str, list[bytes]]
    examples: dict[str, str]
    graph: str

    @property
    def output(self) -> tft.TFTransformOutput:
        return tft.TFTransformOutput(self.graph)


def run_transform(spec: RankingSpec, raw: dict[str, list[bytes]], directory: Path) -> Transformed:
    """What TFX's Transform does: analyses `train`, writes the graph and the transformed examples of every split."""
    schema = example_schema(spec)
    sources = {
        split: tfxio.TFExampleRecord(
            write_records(directory / "raw" / f"{split}.gz", records), schema=schema, telemetry_descriptors=["test"]
        )
        for split, records in raw.items()
    }
    options, graph = PipelineOptions(["--runner=FnApiRunner"]), str(directory / "graph")
    config = sources["train"].TensorAdapterConfig()

    def preprocess(inputs):
        return preprocessing_fn(inputs, {"spec": spec.to_json()})

    with beam.Pipeline(options=options) as pipeline, tft_beam.Context(temp_dir=str(directory / "beam")):
        analysed = (pipeline | sources["train"].BeamSource(), config) | tft_beam.AnalyzeDataset(preprocess)
        analysed | tft_beam.WriteTransformFn(graph)
    coder = RecordBatchToExamplesEncoder(tft.TFTransformOutput(graph).transformed_metadata.schema)
    patterns = {}
    with beam.Pipeline(options=options) as pipeline, tft_beam.Context(temp_dir=str(directory / "beam")):
        function = pipeline | tft_beam.ReadTransformFn(graph)
        for split, source in sources.items():
            batches = pipeline | f"read {split}" >> source.BeamSource()
            data, _ = ((batches, config), function) | f"transform {split}" >> tft_beam.TransformDataset(
                output_record_batches=True
            )
            prefix = str(directory / "transformed" / split / "examples")
            encoded = data | f"encode {split}" >> beam.FlatMapTuple(lambda batch, _: coder.encode(batch))
            encoded | f"write {split}" >> beam.io.WriteToTFRecord(prefix, file_name_suffix=".gz", num_shards=2)
            patterns[split] = f"{prefix}*"
    return Transformed(raw, patterns, graph)


@pytest.fixture(scope="session")
def transformed(spec, tmp_path_factory) -> Transformed:
    raw = {split: random_examples(spec, count, seed) for seed, (split, count) in enumerate(COUNTS.items())}
    return run_transform(spec, raw, tmp_path_factory.mktemp("transformed"))


@pytest.fixture(scope="session")
def transform_examples():
    """`run_transform`, for tests with examples of their own."""
    return run_transform


@pytest.fixture(scope="session")
def transformed_for(spec, transformed, tmp_path_factory):
    """What Transform makes of the same examples for a spec of other columns, once for each set of columns.

    A graph transforms all columns of a kind at once, so that it gives none of them where some are absent.
    """

    def columns_of(declared: RankingSpec) -> tuple:
        return (*example_columns(declared), declared.training.ranking_loss is not None)

    by_columns = {columns_of(spec): transformed}

    def transformed_as(lean: RankingSpec) -> Transformed:
        columns = columns_of(lean)
        if columns not in by_columns:
            by_columns[columns] = run_transform(lean, transformed.raw, tmp_path_factory.mktemp("lean"))
        return by_columns[columns]

    return transformed_as


@pytest.fixture(scope="session")
def trainer_arguments(transformed_for):
    """What TFX gives `run_fn` and `tuner_fn`, for a directory that the model, its history and its checkpoints go to."""

    def given(spec, directory: Path, **custom) -> dict:
        return arguments_of(spec, transformed_for(spec), directory, **custom)

    return given


def arguments_of(spec: RankingSpec, transformed: Transformed, directory: Path, **custom) -> dict:
    return {
        "train_files": [transformed.examples["train"]],
        "eval_files": [transformed.examples["eval"]],
        "transform_graph_path": transformed.graph,
        "serving_model_dir": str(directory / "model"),
        "model_run_dir": str(directory / "run"),
        "custom_config": {"spec": spec.to_json(), "checkpoint_dir": str(directory / "checkpoints"), **custom},
    }


def with_model(spec, **update):
    return spec.model_copy(update={"model": spec.model.model_copy(update=update)})


def sizes_of(spec, transformed) -> dict[str, int]:
    names = {column.vocabulary for column in model_columns(spec) if column.vocabulary}
    return table_sizes(spec, {name: transformed.output.vocabulary_size_by_name(name) for name in names})


@pytest.fixture(scope="session")
def batch(spec, transformed) -> dict[str, tf.Tensor]:
    records = reading.serialized_examples(reading.example_files([transformed.examples["train"]], "train"))
    return next(iter(reading.batches(records, spec, 64)))


@pytest.fixture(scope="session")
def build(spec, transformed):
    def built(compiled="nothing", bias=None, lean=False, balancing="none", precision="float32", **update) -> Ranker:
        tf.keras.utils.set_random_seed(1)
        changed = with_model(spec, **update)
        training = spec.training.model_copy(update={"loss_balancing": balancing, "precision": precision})
        changed = changed.model_copy(update={"training": training})
        if lean:
            # Fewer columns, for time's sake.
            changed = changed.model_copy(update={"features": (), "behaviours": spec.behaviours[:1]})
        model = Ranker(changed, sizes_of(changed, transformed), bias, compiled, sparse_tables=compiled == "head")
        model.compile(optimizer=LazyAdam(0.01))
        return model

    return built


@pytest.fixture(scope="session")
def build_for_training(build, batch):
    """`build`, with the weights and the optimiser's state: a function that creates variables is traced twice."""

    def built(*arguments, **named) -> Ranker:
        model = build(*arguments, **named)
        model(batch)
        model.optimizer._create_all_weights(model.trainable_variables)
        return model

    return built


@pytest.fixture(scope="session")
def disturb():
    """Changes a ranker's weights as some training would: what starts from 0, or alike for all tasks, no longer is."""

    def disturbed(model: Ranker) -> None:
        random = np.random.default_rng(3)
        for variable in model.trainable_variables:
            variable.assign_add(random.normal(scale=0.1, size=variable.shape))

    return disturbed


@pytest.fixture(scope="session")
def keras_attention():
    """What Keras's own attention, with the weights of ours, makes of queries and a sequence."""

    def attended(layer: MaskedAttention, queries, x, mask):
        heads, dim = layer.heads, layer.dim
        keras = tf.keras.layers.MultiHeadAttention(heads, dim // heads)
        keras(queries, x, attention_mask=mask[:, tf.newaxis])
        query, key, value = (np.reshape(kernel, [dim, heads, -1]) for kernel in np.split(layer.kernel.numpy(), 3, 1))
        by_head = [heads, dim // heads]
        query_bias, value_bias = (np.reshape(bias, by_head) for bias in (layer.query_bias, layer.value_bias))
        output = np.reshape(layer.output_kernel, [*by_head, dim])
        keras.set_weights([query, query_bias, key, np.zeros(by_head), value, value_bias, output, layer.output_bias])
        return keras(queries, x, attention_mask=mask[:, tf.newaxis])

    return attended


@pytest.fixture(scope="session")
def plain_transformer(keras_attention):
    """What a plain transformer of Keras's own layers, with the weights of ours, makes of a sequence and queries."""

    def decoded(layer: ConditionalTransformer, x, mask, queries):
        norms = iter(layer.layer_norms)

        def norm(values):
            mine = next(norms)
            keras = tf.keras.layers.LayerNormalization(epsilon=mine.epsilon)
            keras(values)
            keras.set_weights(mine.get_weights())
            return keras(values)

        def network(mine, values):
            return tf.nn.relu(values @ mine.kernels[0] + mine.biases[0]) @ mine.kernels[1] + mine.biases[1]

        for attention, ffn in zip(layer.attentions[:-1], layer.networks[:-1], strict=True):
            attended = keras_attention(attention, x, x, mask)
            if layer.block == "parallel":
                x = norm(x + attended + network(ffn, x))
            else:
                x = norm(x + attended)
                x = norm(x + network(ffn, x))
        read = norm(queries + keras_attention(layer.attentions[-1], queries, x, mask))
        return norm(read + network(layer.networks[-1], read))

    return decoded
