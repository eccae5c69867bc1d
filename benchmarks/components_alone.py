"""One component of the pipeline in a process of its own, on what those before it left in a folder.

`python -m benchmarks.components_alone TASK` does the `Task` that is written as JSON, and prints its `Work` as JSON.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from ingest import graph
from ingest.findings import read_summary
from pipeline.runners.beam import Cluster, beam_arguments, send_inputs_whole
from schema.loading import load_spec
from schema.modelling import SHARED_ROUTING
from schema.spec import RankingSpec

INGEST, EVALUATOR = "InteractionExampleGen", "SeesawEvaluator"
# Between ingest and evaluation, with the splits that each reads.
BETWEEN = {"StatisticsGen": ("train", "eval", "test"), "Transform": ("train", "eval"), "Trainer": ("train",)}
SPLITS = {INGEST: ("train", "eval", "test"), **BETWEEN, EVALUATOR: ("test",)}
_ARTIFACTS = "artifacts.json"


@dataclass(frozen=True)
class Task:
    """Which component is to run, and where.

    Attributes:
      component: its id.
      processes: how many work for Beam.
      spec: its file.
      folder: has what earlier components gave, by their ids, and gets what this one gives.
      trained: such a folder too, with the model that is evaluated.
      chunks_in_memory: whether ingest hands chunks to the shuffles, as on a cluster, and not their places in files.
    """

    component: str
    processes: int
    spec: str
    logs: str
    folder: str
    trained: str
    chunks_in_memory: bool = False


@dataclass(frozen=True)
class Work:
    """What a component did in this process: rows or examples read, time by the clock and of the CPU, bytes shuffled."""

    rows: int
    seconds: float
    cpu_seconds: float
    shuffled_bytes: int


def main() -> None:
    print(json.dumps(asdict(work(Task(**json.loads(sys.argv[1]))))))


def work(task: Task) -> Work:
    """Runs a component; the Trainer trains PLE for an epoch."""
    spec = load_spec(task.spec).with_training(epochs=1, routing=SHARED_ROUTING)
    folder = Path(task.folder)
    if task.component == "Transform":
        _execute("SchemaSource", spec, task, {})
    trained = {"Trainer": Path(task.trained)} if task.component == EVALUATOR else {}
    no_files = mock.patch.object(graph, "_chunk_folder", return_value=None) if task.chunks_in_memory else nullcontext()
    with no_files, _counting_shuffled_bytes() as shuffled:
        seconds, cpu_seconds = _execute(task.component, spec, task, trained)
    splits = read_summary(str(folder / INGEST / "quarantine"))["splits"]
    rows = sum(splits[split]["examples"] for split in SPLITS[task.component])
    return Work(rows, seconds, cpu_seconds, sum(shuffled))


def _execute(component: str, spec: RankingSpec, task: Task, elsewhere: Mapping[str, Path]) -> tuple[float, float]:
    """Executes the component of that id, as the pipeline has it; returns its seconds and its CPU seconds.

    Imports and building the pipeline don't count.

    Args:
      elsewhere: for some components the folder that has what they gave, instead of the task's.
    """
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.utils import json_utils

    from pipeline.config import RunConfig
    from pipeline.pipeline import create_pipeline

    folder = Path(task.folder)
    config = RunConfig(logs=task.logs, output=task.folder, fingerprint="")
    node = {node.id: node for node in create_pipeline(spec, config).components}[component]
    inputs = {}
    for name, channel in node.inputs.items():
        artifacts = elsewhere.get(channel.producer_component_id, folder) / channel.producer_component_id / _ARTIFACTS
        # No resolver has run: there is no earlier model.
        if artifacts.exists():
            inputs[name] = json_utils.loads(artifacts.read_text())[channel.output_key]
    outputs: dict[str, list[Any]] = {}
    for name, channel in node.outputs.items():
        artifact = channel.type()
        artifact.uri = str(folder / component / name)
        Path(artifact.uri).mkdir(parents=True, exist_ok=True)
        outputs[name] = [artifact]
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_arguments("local", Cluster(parallelism=task.processes))),
        tmp_dir=str(folder / component / "tmp"),
        unique_id="1",
    )
    send_inputs_whole()
    executor = node.executor_spec.executor_class(context)
    clock, cpu = time.perf_counter(), time.process_time()
    executor.Do(inputs, outputs, dict(node.exec_properties))
    spent = time.perf_counter() - clock, time.process_time() - cpu
    (folder / component / _ARTIFACTS).write_text(json_utils.dumps(outputs))
    return spent


@contextmanager
def _counting_shuffled_bytes() -> Iterator[list[int]]:
    """Yields a list that gets the encoded bytes which each bundle hands to a GroupByKey, a Reshuffle's too.

    Beam's runner in Python groups in the launching process, whether its workers are there or in processes of their own.
    """
    from apache_beam.runners.portability.fn_api_runner.execution import GroupingBuffer

    append, sizes = GroupingBuffer.append, []

    def counting(self: GroupingBuffer, elements_data: bytes) -> None:
        sizes.append(len(elements_data))
        append(self, elements_data)

    with mock.patch.object(GroupingBuffer, "append", counting):
        yield sizes


if __name__ == "__main__":
    main()
