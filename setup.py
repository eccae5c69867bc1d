"""Fulcrum's distribution: its requirements as they are meant. What was tested stands in the lock files."""

import os
import sysconfig

from setuptools import Distribution, find_packages, setup

# Where a `.pth` file is read at every start of the interpreter: there `legacy_keras.pth` makes `tf.keras` Keras 2 in
# each process of the environment (workers, containers and notebooks too), before anything can import TensorFlow.
SITE_PACKAGES = os.path.relpath(sysconfig.get_path("purelib"), sysconfig.get_path("data"))


class WithDataWhenEditable(Distribution):
    """An editable install asks for `has_data`, which setuptools never defines, and so leaves `data_files` out."""

    has_data = Distribution.has_data_files


PACKAGES = ("schema", "ingest", "models", "evaluation", "serving", "report", "components", "pipeline", "simulation")

setup(
    name="fulcrum-ranking",
    version="0.1.0",
    description="A TFX pipeline from raw interaction logs to a multi-task ranker that does not seesaw.",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=[*PACKAGES, *(f"{name}.*" for name in PACKAGES)]),
    package_data={
        "schema": ["specs/*.yaml"],
        "report": ["page/page.*"],
        "serving": ["tensorflow_serving/*"],
    },
    distclass=WithDataWhenEditable,
    data_files=[(SITE_PACKAGES, ["legacy_keras.pth"])],
    install_requires=[
        "tfx>=1.21,<1.22",
        "tensorflow>=2.21,<2.22",
        "tf-keras>=2.21,<2.22",
        "tensorflow-recommenders>=0.7.7,<0.8",
        "tensorflow-transform>=1.21,<1.22",
        "tensorflow-model-analysis>=0.52,<0.53",
        "tensorflow-data-validation>=1.16,<1.22",
        "ml-metadata>=1.17,<1.22",
        "tensorflow-serving-api>=2.19,<2.22",
        "apache-beam[gcp]>=2.73,<2.74",
        "pyarrow>=14",
        "fastavro>=1.9",
        "numpy",
        "google-crc32c>=1.5",
        "isal>=1.7",
        "orjson>=3.10",
        "aiohttp>=3.10",
        "altair>=5.5,<7",
        "jinja2>=3.1",
        "vl-convert-python>=1.8,<2",
        "grpcio",
        "prometheus-client>=0.21",
        "pydantic>=2.10,<3",
        "pyyaml>=6",
        "typer>=0.15",
        "rich>=13",
        "scipy>=1.11",
        "urllib3>=2",
    ],
    extras_require={
        "kubeflow": ["kfp>=2.17,<3"],
        "redis": ["redis[hiredis]>=5"],
        "dev": [
            "hypothesis",
            "import-linter",
            "ipykernel",
            "lightgbm>=4.5",
            "mypy",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "pandas-stubs",
            "polars>=1.30",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "ruff",
            "scikit-learn",
            "types-PyYAML",
        ],
    },
    entry_points={"console_scripts": ["fulcrum=pipeline.cli.main:main"]},
)
