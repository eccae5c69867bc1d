"""Logs that the pipeline has made examples of, and rankers trained on them as the pipeline trains."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import yaml
from tfx.components.trainer.fn_args_utils import FnArgs

from benchmarks.command import fulcrum
from benchmarks.ranker_training import train_ranker
from ingest import sources
from ingest.errors import IngestError
from models.export import signatures
from models.ranker import Ranker
from models.sharing import ChosenNetworks, choose_networks, with_choices
from models.training import reading
from models.training.progress import fingerprint
from schema.loading import load_spec
from schema.modelling import AUTO_ROUTING, SHARED_ROUTING, SINGLE_TASK
from schema.spec import RankingSpec
from schema.stages import transform_part

SCORED_AT_ONCE = 1_000
# Beside a run, says what it was made of.
MADE_OF = "made_of.json"


@dataclass(frozen=True)
class Prepared:
    """The examples of a run.

    Attributes:
      data: what is trained on, as the Trainer gets it.
      examples: the folder of the raw examples' splits.
      test: the raw test examples, serialised, object `(examples,)`.
    """

    spec: RankingSpec
    data: FnArgs
    examples: Path
    test: np.ndarray


def prepare(spec: Path, logs: Path, output: Path) -> Prepared:
    """Runs the pipeline once, with one epoch, for its examples and its Transform; a finished run of the same is taken.

    Where the finished run is one of other logs, or by a spec of other examples, this process ends and says so.
    """
    declared = load_spec(spec)
    try:
        parts, record = made_of(declared, logs), output / MADE_OF
    except IngestError as error:
        sys.exit(str(error))
    if list((output / "artifacts").glob("EvaluationReport/report/*")):
        recorded = json.loads(record.read_text()) if record.exists() else {}
        changed = " and ".join(part for part, now in parts.items() if recorded.get(part) != now)
        if changed:
            sys.exit(f"{output}: {changed} changed since its examples were made; keep others in another directory")
    else:
        output.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(parts))
        fulcrum("run", with_groups(spec, output), "--logs", logs, "--output", output, "--epochs", 1)
    (transformed,), (graph,), (examples,) = (
        list((output / "artifacts").glob(pattern))
        for pattern in (
            "Transform/transformed_examples/*",
            "Transform/transform_graph/*",
            "InteractionExampleGen/examples/*",
        )
    )
    data = FnArgs(
        train_files=[f"{transformed}/Split-train/*"],
        eval_files=[f"{transformed}/Split-eval/*"],
        transform_graph_path=str(graph),
    )
    test = reading.serialized_examples(reading.example_files([f"{examples}/Split-test/*"], "test"))
    return Prepared(declared, data, examples, np.array(list(test.as_numpy_iterator()), object))


def with_groups(spec: Path, folder: Path) -> Path:
    """Writes the spec with a ranking loss, if it has none, and returns where: examples then have groups to order."""
    declared = yaml.safe_load(spec.read_text())
    declared["training"] = {"ranking_loss": {"kind": "pairwise"}} | declared.get("training", {})
    path = folder / spec.name
    path.write_text(yaml.safe_dump(declared, sort_keys=False))
    return path


def made_of(spec: RankingSpec, logs: Path) -> dict[str, str]:
    """Returns fingerprints of what examples and Transform depend on: the spec's part, and the files that it matches."""
    return {"the spec": fingerprint(transform_part(spec).to_json()), "the logs": sources.fingerprint(spec, str(logs))}


def trained(prepared: Prepared, spec: RankingSpec) -> Callable[[np.ndarray], np.ndarray]:
    """Trains by `spec` and returns the function from raw examples to the best epoch's outputs.

    It takes serialised examples, object `(examples,)`, and gives float32 `(tasks, examples)`.
    """
    return next(iter(networks(prepared, spec).values()))


def networks(prepared: Prepared, spec: RankingSpec) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Trains by `spec` and returns such a function by the routing's name, of `auto` also of what it chooses from."""
    tf.keras.backend.clear_session()
    data = reading.read_training_data(prepared.data, spec)
    transform = tft.TFTransformOutput(prepared.data.transform_graph_path)
    shared, _ = train_ranker(spec, data, transform)
    if not spec.chooses_networks:
        return {spec.model.routing: _outputs(shared, transform)}
    single_task, _ = train_ranker(spec.with_training(routing=SINGLE_TASK), data, transform)
    choices = choose_networks(shared, single_task, reading.batches(data.evaluation, spec, spec.training.batch_size))
    models = {
        AUTO_ROUTING: with_choices(shared, single_task, choices),
        SHARED_ROUTING: shared,
        SINGLE_TASK: single_task,
    }
    return {name: _outputs(model, transform) for name, model in models.items()}


def _outputs(model: Ranker | ChosenNetworks, transform: tft.TFTransformOutput) -> Callable[[np.ndarray], np.ndarray]:
    serving_default = signatures.Servable(model, transform).functions["serving_default"]

    def score(examples: np.ndarray) -> np.ndarray:
        parts = [
            serving_default(tf.constant(examples[start : start + SCORED_AT_ONCE]))
            for start in range(0, len(examples), SCORED_AT_ONCE)
        ]
        tasks = [task.name for task in model.spec.tasks]
        return np.stack([np.concatenate([batch[task].numpy()[:, 0] for batch in parts]) for task in tasks])

    return score


def test_scores(prepared: Prepared, spec: RankingSpec) -> np.ndarray:
    """Trains by `spec` and returns the best epoch's outputs on the test examples, float32 `(tasks, examples)`."""
    return trained(prepared, spec)(prepared.test)
