"""Rankers whose scores are under control, and examples of known truth, for the evaluator to judge."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.seesaw_evaluator.executor import Executor
from evaluation.result import Evaluation, read
from schema.spec import RankingSpec
from schema.stages import evaluation_part

TASKS = ("view", "completion", "like", "share")
SPEC = RankingSpec.model_validate(
    {
        "name": "videos",
        "log": {
            "layout": "impressions",
            "files": "log.csv",
            "user": "user",
            "item": "item",
            "timestamp": {"column": "at", "unit": "s"},
        },
        "features": [
            {"name": "country", "source": "log", "kind": "categorical"},
            {"name": "tab", "source": "log", "kind": "categorical"},
            {"name": "tags", "source": "log", "kind": "multi"},
            *({"name": f"signal_{task}", "source": "log", "kind": "numeric"} for task in TASKS),
            *({"name": f"noise_{task}", "source": "log", "kind": "numeric"} for task in TASKS),
        ],
        "tasks": [
            {"name": "view", "column": "play_ms", "at_least": 10},
            {"name": "completion", "ratio": {"numerator": "play_ms", "denominator": "length_ms"}},
            {"name": "like", "column": "liked", "within": {"column": "clicked"}},
            {"name": "share", "column": "shared", "within": {"column": "clicked"}},
        ],
        "slices": [["country"], ["tab"], ["tags"], ["country", "tab"]],
        "gates": {task: {"max_drop": 0.02} for task in TASKS},
    }
)


class Ranker(tf.Module):
    """Task t's output is σ(signal_t + noise[t] noise_t): the truth with some noise added, none by default.

    With `steps`, outputs are whole numbers of 1 / steps, and neither 0 nor 1.
    """

    def __init__(self, noise: Mapping[str, float], tasks: tuple[str, ...] = TASKS, steps: int | None = None):
        super().__init__()
        self.noise, self.tasks, self.steps = dict(noise), tasks, steps

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(self, examples):
        number = tf.io.FixedLenFeature([], tf.float32)
        parsed = tf.io.parse_example(
            examples, {f"{kind}_{task}": number for kind in ("signal", "noise") for task in self.tasks}
        )
        outputs = {}
        for task in self.tasks:
            score = tf.sigmoid(parsed[f"signal_{task}"] + self.noise.get(task, 0.0) * parsed[f"noise_{task}"])
            if self.steps:
                score = tf.clip_by_value(tf.round(score * self.steps), 1, self.steps - 1) / self.steps
            outputs[task] = score[:, None]
        return outputs


@dataclass
class Columns:
    """Examples as columns; `texts` hold lists of texts, numbers are float32, of any width, integers int64."""

    texts: dict[str, list[list[bytes]]] = field(default_factory=dict)
    numbers: dict[str, np.ndarray] = field(default_factory=dict)
    integers: dict[str, np.ndarray] = field(default_factory=dict)

    def serialized(self) -> list[bytes]:
        rows = []
        for i in range(len(next(iter(self.numbers.values())))):
            example = tf.train.Example()
            for name, texts in self.texts.items():
                example.features.feature[name].bytes_list.value.extend(texts[i])
            example.features.feature["item_id"].bytes_list.value.append(b"i")
            example.features.feature["timestamp"].int64_list.value.append(i)
            for name, values in self.numbers.items():
                example.features.feature[name].float_list.value.extend(np.atleast_1d(values[i]))
            for name, values in self.integers.items():
                example.features.feature[name].int64_list.value[:] = [values[i]]
            rows.append(example.SerializeToString())
        return rows


def simulated(rows: int, users: int, seed: int = 0) -> Columns:
    """Impressions that hang together by user, labelled by the true probabilities σ(signal)."""
    random = np.random.default_rng(seed)
    user = random.integers(0, users, rows)
    columns = Columns()
    columns.texts["user_id"] = [[f"u{number}".encode()] for number in user]
    columns.texts["country"] = [[f"c{number % 3}".encode()] for number in user]
    columns.texts["tab"] = [[[b"home", b"search"][tab]] for tab in random.integers(0, 2, rows)]
    columns.texts["tags"] = [[b"<b>", b"t", b"t"][: int(count)] for count in random.integers(0, 4, rows)]
    clicked = random.random(rows) < 0.7
    rates = {"view": 0.0, "completion": 0.0, "like": -1.0, "share": -2.0}
    for task, rate in rates.items():
        signal = rate + 0.7 * random.standard_normal(users)[user] + random.standard_normal(rows)
        truth = 1 / (1 + np.exp(-signal))
        label = truth + 0.05 * random.standard_normal(rows) if task == "completion" else random.random(rows) < truth
        columns.numbers |= {
            f"signal_{task}": signal,
            f"noise_{task}": random.standard_normal(rows),
            f"label_{task}": np.clip(label, 0, 1),
            f"space_{task}": clicked if task in ("like", "share") else np.ones(rows),
        }
    return columns


def write_examples(folder: Path, columns: Columns, files: int = 2) -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(["test"])
    examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
    split = folder / "Split-test"
    split.mkdir(parents=True)
    serialized = columns.serialized()
    for shard in range(files):
        with tf.io.TFRecordWriter(str(split / f"data_tfrecord-{shard}-of-{files}.gz"), options="GZIP") as writer:
            for record in serialized[shard::files]:
                writer.write(record)
    return artifact


@pytest.fixture(scope="session")
def spec() -> RankingSpec:
    return SPEC


@pytest.fixture(scope="session")
def simulate() -> Callable[..., Columns]:
    """`simulate(rows, users, seed)`."""
    return simulated


@pytest.fixture(scope="session")
def columns() -> Columns:
    return simulated(4_000, 150)


@pytest.fixture(scope="session")
def examples(tmp_path_factory, columns) -> standard_artifacts.Examples:
    return write_examples(tmp_path_factory.mktemp("examples"), columns)


@pytest.fixture
def save_examples(tmp_path: Path) -> Callable[[Columns], standard_artifacts.Examples]:
    return lambda columns: write_examples(tmp_path / f"examples-{len(list(tmp_path.iterdir()))}", columns)


@pytest.fixture
def save_model(tmp_path: Path) -> Callable[..., standard_artifacts.Model]:
    """`save_model(name, noise, spec, steps)` writes a Ranker as the Trainer would, and returns the artifact."""

    def save(
        name: str, noise: Mapping[str, float] | None = None, spec: RankingSpec = SPEC, steps: int | None = None
    ) -> standard_artifacts.Model:
        artifact = standard_artifacts.Model()
        artifact.uri = str(tmp_path / name)
        artifact.id = abs(hash(name)) % 1000 + 1
        ranker = Ranker(noise or {}, tuple(task.name for task in spec.tasks), steps)
        folder = tmp_path / name / "Format-Serving"
        tf.saved_model.save(ranker, str(folder), signatures={"serving_default": ranker.serving_default})
        (folder / "assets.extra").mkdir()
        (folder / "assets.extra" / "ranking_spec.json").write_text(spec.to_json())
        return artifact

    return save


@dataclass(frozen=True)
class Evaluated:
    """What the component leaves: its two artifacts."""

    evaluation: standard_artifacts.ModelEvaluation
    blessing: standard_artifacts.ModelBlessing

    @property
    def result(self) -> Evaluation:
        return read(self.evaluation.uri)


@pytest.fixture
def evaluate(tmp_path: Path) -> Callable[..., Evaluated]:
    """`evaluate(spec, examples=…, model=…, baseline_model=…)` runs the component's executor as its launcher would."""

    def run(spec: RankingSpec, *beam_args: str, **inputs: standard_artifacts.Artifact | None) -> Evaluated:
        folder = tmp_path / f"run-{len(list(tmp_path.glob('run-*')))}"
        evaluated = Evaluated(standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing())
        for name, artifact in vars(evaluated).items():
            artifact.uri = str(folder / name)
            Path(artifact.uri).mkdir(parents=True)
        context = Executor.Context(
            beam_pipeline_args=["--runner=FnApiRunner", *beam_args], tmp_dir=str(folder / "tmp"), unique_id="1"
        )
        Executor(context).Do(
            {name: [artifact] for name, artifact in inputs.items() if artifact},
            {name: [artifact] for name, artifact in vars(evaluated).items()},
            {"spec": evaluation_part(spec).to_json(), "split": "test"},
        )
        return evaluated

    return run
