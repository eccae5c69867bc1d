"""Loads a SavedModel in a plain TensorFlow 1 session and scores serialised examples: no Fulcrum, no TFX, no Keras.

Usage: MODEL_DIR EXAMPLES.npy OUT.npz, run with an import path that holds nothing of this project.
"""

import sys

import numpy as np
import tensorflow as tf

model_dir, examples, out = sys.argv[1:]
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], model_dir)
    signature = loaded.signature_def["serving_default"]
    (given,) = signature.inputs.values()
    fetched = {name: tensor.name for name, tensor in signature.outputs.items()}
    scores = session.run(fetched, {given.name: np.load(examples, allow_pickle=True)})
foreign = sorted({name.split(".")[0] for name in sys.modules} & {"tfx", "models", "schema", "components", "pipeline"})
if foreign:
    sys.exit(f"not plain TensorFlow: {foreign} were imported")
np.savez(out, **scores)
