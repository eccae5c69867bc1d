# One image for all: every component of a compiled pipeline, and the workers of Apache Beam.
#
#   docker build --tag registry.example.com/fulcrum:1.0 .
#
# A component's command stands in the compiled pipeline and replaces the entry point; without a command the container is a
# Beam worker.
ARG BEAM_VERSION=2.73.0

FROM apache/beam_python3.13_sdk:${BEAM_VERSION} AS beam

# What needs a compiler is built here, and the image has none: pyfarmhash comes as source alone.
FROM python:3.13-slim-trixie AS build
RUN apt-get update && apt-get install --yes --no-install-recommends g++
RUN pip install --no-cache-dir uv && python -m venv /opt/environment
ENV VIRTUAL_ENV=/opt/environment
WORKDIR /opt/fulcrum

# What changes seldom comes first, so that a change of the code builds in seconds.
COPY requirements.glibc-2.39.lock ./
RUN uv pip install --no-cache --no-deps --compile-bytecode --requirement requirements.glibc-2.39.lock

COPY setup.py pyproject.toml legacy_keras.pth ./
COPY schema/ schema/
COPY ingest/ ingest/
COPY models/ models/
COPY evaluation/ evaluation/
COPY serving/ serving/
COPY report/ report/
COPY components/ components/
COPY pipeline/ pipeline/
COPY simulation/ simulation/
RUN uv pip install --no-cache --no-deps --compile-bytecode .

FROM python:3.13-slim-trixie
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/opt/environment/bin:$PATH \
    # Beam's boot would make a virtual environment beside this one, in a folder of root.
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
COPY --from=build /opt/environment /opt/environment
COPY --from=beam /opt/apache/beam /opt/apache/beam

# Kubeflow's launcher runs as the same user, and copies artifacts to these folders.
RUN useradd --uid 1000 --create-home fulcrum \
    && install --directory --owner=fulcrum /gcs /s3 /minio
USER fulcrum
WORKDIR /home/fulcrum
ENTRYPOINT ["/opt/apache/beam/boot"]
