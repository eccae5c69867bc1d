"""InteractionExampleGen, as a pipeline names it."""

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Quarantine
from components.interaction_example_gen.executor import Executor
from ingest.sources import fingerprint as fingerprint_of
from ingest.windows.window import window_fingerprint
from schema.spec import RankingSpec


class InteractionExampleGenSpec(ComponentSpec):
    """What InteractionExampleGen takes and gives."""

    INPUTS: dict = {}  # noqa: RUF012
    OUTPUTS = {  # noqa: RUF012
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "quarantine": ChannelParameter(type=Quarantine),
    }
    PARAMETERS = {  # noqa: RUF012
        "spec": ExecutionParameter(type=str),
        "logs": ExecutionParameter(type=str),
        # Not read by the executor: a change of it is what makes TFX's cache see changed files.
        "fingerprint": ExecutionParameter(type=str, optional=True),
        "shards": ExecutionParameter(type=int, optional=True),
        "window": ExecutionParameter(type=str, optional=True),
        "state": ExecutionParameter(type=str, optional=True),
    }


class InteractionExampleGen(BaseBeamComponent):
    """Raw interaction logs -> point-in-time tf.Examples in the splits train, eval and test, as a ranking spec declares.

    Outputs: `examples` (standard Examples, TFRecords under gzip) and `quarantine` (the rows left out, and counts).

    ```python
    gen = InteractionExampleGen(load_spec("deskdrop.yaml"), logs="gs://bucket/logs")
    StatisticsGen(examples=gen.outputs["examples"])
    ```
    """

    SPEC_CLASS = InteractionExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        spec: RankingSpec,
        logs: str | RuntimeParameter,
        fingerprint: str | RuntimeParameter | None = None,
        shards: int | None = None,
        window: str | RuntimeParameter | None = None,
        state: str | RuntimeParameter | None = None,
    ):
        """Declares the step.

        Args:
          logs: the folder of the files that the spec names.
          fingerprint: what the files hold (`files.fingerprint`). None reads them now; give "" where a pipeline is
            compiled away from its data.
          shards: buckets of users, and so the files of a split; None goes by the size of the logs.
          window: the logs lie in daily folders, and the impressions of these days become examples (`7d:2026-11-25`).
          state: the folder where the runs of a rolling window keep what earlier days carry on; goes with `window`.

        Raises:
          IngestError: `fingerprint` is None and a pattern of the spec matches no file.
          ValueError: of `window` and `state` one is given alone.
        """
        if (window is None) != (state is None):
            raise ValueError(f"`window` and `state` go together, got window={window!r} and state={state!r}")
        if fingerprint is None:
            for name, given in (("logs", logs), ("window", window)):
                if isinstance(given, RuntimeParameter):
                    raise ValueError(f"`{name}` given as a RuntimeParameter needs `fingerprint`, a text, got None")
            fingerprint = window_fingerprint(spec, logs, window) if window else fingerprint_of(spec, logs)
        super().__init__(
            InteractionExampleGenSpec(
                spec=ingest_part(spec).to_json(),
                logs=logs,
                fingerprint=fingerprint,
                shards=shards,
                window=window,
                state=state,
                examples=types.Channel(type=standard_artifacts.Examples),
                quarantine=types.Channel(type=Quarantine),
            )
        )


def ingest_part(spec: RankingSpec) -> RankingSpec:
    """The spec without what examples don't depend on, so that a change of it leaves TFX's cache of them valid."""
    plain = {"scale": "standardize", "buckets": 10, "vocabulary": None}
    features = tuple(feature.model_copy(update=plain) for feature in spec.features)
    statistics = spec.statistics and spec.statistics.model_copy(update={"prior_strength": 20.0})
    return spec.data_part().model_copy(update={"features": features, "statistics": statistics})
