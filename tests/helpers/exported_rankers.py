"""A ranker as if it had been trained, and what it gives before it is exported."""

import numpy as np
import tensorflow as tf

from models.export import requests
from models.features import dense, placeholders
from models.ranker import Ranker
from models.training.build import build_ranker
from schema import served as served_contract
from schema.spec import RankingSpec


def as_if_trained(spec, transformed, disturb) -> Ranker:
    ranker = build_ranker(spec, transformed.output)
    ranker(placeholders(spec))
    disturb(ranker)
    return ranker


def trainers_numbers(ranker: Ranker, transformed) -> dict[str, np.ndarray]:
    """Returns the outputs of the ranker on the transformed examples, by task, in the order of the raw ones."""
    raw = tf.io.parse_example(transformed.raw["eval"], requests.request_feature_spec(ranker.spec))
    features = dense(transformed.output.transform_features_layer()(raw), ranker.spec)
    return {task: output.numpy() for task, output in ranker(features).items()}


def input_names(spec: RankingSpec, signature: str) -> list[str]:
    return [tensor.name for tensor in served_contract.signatures(spec)[signature].inputs]
