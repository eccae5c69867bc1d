# One image for all: every component of a compiled pipeline, and the workers of Apache Beam.
#
#   docker build --tag registry.example.com/fulcrum:1.0 .
#
# A component's command stands in the compiled pipeline and replaces the entry point; without a command the container is a
# Beam worker.
ARG BEAM_VERSION=2.73.0

FROM apache/beam_python3.11_sdk:${BEAM_VERSION} AS beam

FROM python:3.11-slim-bookworm
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    # Beam's boot would make a virtual environment beside Python's own, in a folder of root.
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
WORKDIR /opt/fulcrum

# What changes seldom comes first, so that a change of the code builds in seconds.
COPY requirements.lock ./
COPY third_party/ third_party/
RUN pip install --no-cache-dir uv \
    && uv pip install --system --no-cache --no-deps --compile-bytecode \
        --requirement requirements.lock ./third_party/tfx_bsl_sql_util

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
RUN uv pip install --system --no-cache --no-deps --compile-bytecode .

COPY --from=beam /opt/apache/beam /opt/apache/beam

# Kubeflow's launcher runs as the same user, and copies artifacts to these folders.
RUN useradd --uid 1000 --create-home fulcrum \
    && install --directory --owner=fulcrum /gcs /s3 /minio
USER fulcrum
WORKDIR /home/fulcrum
ENTRYPOINT ["/opt/apache/beam/boot"]
