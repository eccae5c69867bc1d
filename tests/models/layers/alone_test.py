import subprocess
import sys

# What a Keras model that takes the layers should not have to bring.
HEAVY = ["tfx", "tensorflow_transform", "tensorflow_recommenders", "pydantic", "apache_beam", "schema"]

ALONE = """
import sys
import models.layers
loaded = {name.split(".")[0] for name in sys.modules}
ours = sorted(name for name in sys.modules if name.startswith("models") and not name.startswith("models.layers"))
print(sorted(loaded & set(sys.argv[1:])), ours)
"""


def test_the_layers_import_nothing_but_tensorflow():
    run = subprocess.run([sys.executable, "-c", ALONE, *HEAVY], check=True, capture_output=True, text=True)
    assert run.stdout.strip().splitlines()[-1] == "[] ['models']"
