"""Where a run reads and writes, and how."""

from dataclasses import dataclass

from schema.spec import RankingSpec

# Runs Beam in this process; `DirectRunner` would look for a job server to download first.
IN_MEMORY = "--runner=FnApiRunner"


@dataclass(frozen=True)
class RunConfig:
    """`fingerprint` identifies the content of the logs; the cache goes by it."""

    logs: str
    output: str
    fingerprint: str
    beam_args: tuple[str, ...] = (IN_MEMORY,)
    cache: bool = True

    @property
    def metadata_path(self) -> str:
        return f"{self.output}/metadata.sqlite"

    def serving_dir(self, spec: RankingSpec) -> str:
        return f"{self.output}/serving/{spec.name}"
