"""Says where a run reads and writes, and how: what differs between the runners stands here, not in the DAG."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.runners.beam import IN_MEMORY
from schema.spec import RankingSpec

if TYPE_CHECKING:
    # Importing TFX takes seconds, and what is wrong with a command should be said before.
    from tfx.orchestration.data_types import RuntimeParameter


@dataclass(frozen=True)
class RunConfig:
    """A run below the folder `output`.

    Attributes:
      logs: the folder of the logs.
      fingerprint: identifies the content of the logs; the cache goes by it.
      window: such as `7d:2026-11-25`, the days whose impressions become examples, where the logs lie in daily folders;
        None reads all logs at once.
      warm_start: whether training starts from the latest blessed model; in a compiled pipeline a parameter names one.
      parameters: what each run of a compiled pipeline is started with, by name (`components.run_parameters`); None on
        this machine, where all is known and there is metadata to look the models up in.
    """

    logs: "str | RuntimeParameter"
    output: str
    fingerprint: str
    beam_args: tuple[str, ...] = (IN_MEMORY,)
    cache: bool = True
    window: "str | RuntimeParameter | None" = None
    warm_start: bool = False
    parameters: "Mapping[str, RuntimeParameter] | None" = None

    def pipeline_name(self, spec: RankingSpec) -> str:
        # Kubeflow has no underscores in names.
        return spec.name.replace("_", "-") if self.parameters else spec.name

    @property
    def artifacts_dir(self) -> str:
        return self.output if self.parameters else f"{self.output}/artifacts"

    @property
    def state_dir(self) -> "str | RuntimeParameter | None":
        """Returns the folder of what the runs of a rolling window keep for the next ones."""
        if self.parameters:
            return self.parameters["state"]
        return f"{self.output}/state" if self.window else None

    @property
    def metadata_path(self) -> str | None:
        return None if self.parameters else f"{self.output}/metadata.sqlite"

    @property
    def checkpoint_dir(self) -> str | None:
        """Returns where training keeps its state for a repeated run; a container keeps it in its own run's folder."""
        return None if self.parameters else f"{self.output}/checkpoints"

    def push_destination(self, spec: RankingSpec) -> "str | RuntimeParameter":
        return self.parameters["push_destination"] if self.parameters else f"{self.output}/serving/{spec.name}"
