"""InteractionExampleGen, as a pipeline names it."""

from tfx import types
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import standard_artifacts
from tfx.types.artifact import Artifact
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.interaction_example_gen.executor import Executor
from components.interaction_example_gen.files import fingerprint as fingerprint_of
from schema.spec import RankingSpec


class Quarantine(Artifact):
    """The rows that ingest left out, `rejected-…jsonl` (file, row, reason, text), and its counts, `summary.json`."""

    TYPE_NAME = "fulcrum.Quarantine"


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
    ):
        """Declares the step.

        Args:
          logs: the folder of the files that the spec names.
          fingerprint: what the files hold (`files.fingerprint`). None reads them now; give "" where a pipeline is
            compiled away from its data.
          shards: buckets of users, and so the files of a split; None goes by the size of the logs.

        Raises:
          IngestError: `fingerprint` is None and a pattern of the spec matches no file.
        """
        if fingerprint is None:
            if not isinstance(logs, str):
                raise ValueError(
                    f"`logs` given as {type(logs).__name__} needs `fingerprint`, expected a text, got None"
                )
            fingerprint = fingerprint_of(spec, logs)
        super().__init__(
            InteractionExampleGenSpec(
                spec=ingest_part(spec).to_json(),
                logs=logs,
                fingerprint=fingerprint,
                shards=shards,
                examples=types.Channel(type=standard_artifacts.Examples),
                quarantine=types.Channel(type=Quarantine),
            )
        )


def ingest_part(spec: RankingSpec) -> RankingSpec:
    """The spec without what examples don't depend on, so that a change of it leaves TFX's cache of them valid."""
    plain = {"scale": "standardize", "buckets": 10, "vocabulary": None}
    features = tuple(feature.model_copy(update=plain) for feature in spec.features)
    return spec.data_part().model_copy(update={"features": features})
