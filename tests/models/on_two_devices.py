"""Run as a program, since devices are made before TensorFlow runs anything: trains on two logical CPU devices.

Takes JSON: `steps`, specs to train for some steps on one replica and on two; `run_fn`, the arguments of trainings.
Prints the largest difference of a weight, by name of the spec.
"""

import json
import sys
import types

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models.distribution import local_strategy
from models.trainer import run_fn
from models.training import reading
from models.training.averaging import WeightAverages
from models.training.build import build_ranker
from models.training.optimizer import WORTH_COMPILING_STEPS
from models.training.step import training_function
from schema.spec import RankingSpec

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def trained(spec: RankingSpec, setup: dict, distribution: str, steps: int) -> tuple[list[np.ndarray], list[float]]:
    training = spec.training.model_copy(update={"distribution": distribution})
    spec, strategy = spec.model_copy(update={"training": training}), local_strategy(training)
    model = build_ranker(spec, tft.TFTransformOutput(setup["graph"]), None, steps, strategy)
    records = reading.serialized_examples(reading.example_files([setup["examples"]], "train")).take(setup["count"])
    averages = WeightAverages.of(model)
    step = training_function(model, averages)
    dataset = strategy.distribute_datasets_from_function(
        lambda worker: reading.batches(records, spec, training.batch_size, worker=worker)
    )
    losses = [float(step(batch)) for batch in dataset]
    state = averages.state if averages else []
    return [variable.numpy() for variable in (*model.trainable_variables, *state)], losses


given = json.loads(sys.argv[1])
differences = {}
for name, (text, steps) in given["steps"].items():
    spec = RankingSpec.from_json(text)
    alone, shared = (
        trained(spec, given, distribution, steps * WORTH_COMPILING_STEPS) for distribution in ("none", "mirrored")
    )
    weights = max(float(np.abs(a - b).max()) for a, b in zip(alone[0], shared[0], strict=True))
    differences[name] = {"weights": weights, "losses": [*alone[1], *shared[1]]}
print(json.dumps(differences))
for arguments in given["run_fn"]:
    run_fn(types.SimpleNamespace(**arguments))
