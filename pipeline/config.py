"""Where a run reads and writes, and how."""

from dataclasses import dataclass

from schema.spec import RankingSpec

# Runs Beam in this process; `DirectRunner` would look for a job server to download first.
IN_MEMORY = "--runner=FnApiRunner"


@dataclass(frozen=True)
class RunConfig:
    """`fingerprint` identifies the content of the logs; the cache goes by it.

    `window`, such as `7d:2026-11-25`, are the days whose impressions become examples, where the logs lie in daily
    folders; None reads all logs at once.
    """

    logs: str
    output: str
    fingerprint: str
    beam_args: tuple[str, ...] = (IN_MEMORY,)
    cache: bool = True
    window: str | None = None

    @property
    def metadata_path(self) -> str:
        return f"{self.output}/metadata.sqlite"

    @property
    def state_dir(self) -> str | None:
        """What the runs of a rolling window keep for the next ones."""
        return f"{self.output}/state" if self.window else None

    def serving_dir(self, spec: RankingSpec) -> str:
        return f"{self.output}/serving/{spec.name}"
