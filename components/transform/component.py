"""Transform, as a pipeline names it."""

from tfx import components
from tfx.dsl.components.base import executor_spec

from components.transform.executor import Executor


class Transform(components.Transform):
    """TFX's Transform; of the examples of a rolling window it analyses only the days that it doesn't know yet.

    TFX keeps analyses by artifact, and finds the last ones by a Resolver, which open-source Kubeflow lacks. Here all
    days of the window are in one artifact, and what was found out of each is kept beside what ingest carries on.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
