"""What the set-up promises of the environment."""

import subprocess
import sys


def test_keras_is_the_legacy_one_in_any_process_of_the_environment():
    program = "import tensorflow as tf; print(tf.keras.layers.Layer.__module__)"
    output = subprocess.run(
        [sys.executable, "-c", program], env={"PATH": ""}, capture_output=True, text=True, check=True
    ).stdout
    assert output.startswith("tf_keras."), f"tf.keras is {output.strip()}: `make setup` installs legacy_keras.pth"
