"""Says what each component's container gets: cores, memory, GPUs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

# Kubernetes' units of memory, in bytes.
_UNITS = {"M": 10**6, "G": 10**9, "T": 10**12, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_MEMORY = re.compile(rf"(\d+(?:\.\d+)?)({'|'.join(_UNITS)})")
_NAME = re.compile(r"\w+")


class ResourcesError(ValueError):
    """Resources that can't be given; the message says what was expected."""


@dataclass(frozen=True)
class Resources:
    """Limits of a container, and what it is scheduled by: `cpu` in cores, `memory` as Kubernetes writes it.

    Attributes:
      gpu_type: the resource's name on the cluster (`nvidia.com/gpu`), or Vertex AI's type (`NVIDIA_TESLA_T4`).
    """

    cpu: float = 2.0
    memory: str = "8G"
    gpu: int = 0
    gpu_type: str = "nvidia.com/gpu"

    def __post_init__(self) -> None:
        if not self.cpu > 0:
            raise ResourcesError(f"cpu: expected a positive number of cores, got {self.cpu:g}")
        if not _MEMORY.fullmatch(self.memory):
            raise ResourcesError(f"memory: expected a number and one of {', '.join(_UNITS)}, got {self.memory!r}")
        if self.gpu < 0:
            raise ResourcesError(f"gpu: expected a count, got {self.gpu}")

    @property
    def memory_gb(self) -> float:
        number, unit = _MEMORY.fullmatch(self.memory).groups()  # type: ignore[union-attr]
        return float(number) * _UNITS[unit] / 10**9


# Of components that are named nowhere.
OTHERS = ""
DEFAULTS = {
    OTHERS: Resources(),
    "InteractionExampleGen": Resources(cpu=4, memory="16G"),
    "Transform": Resources(cpu=4, memory="16G"),
    "Trainer": Resources(cpu=4, memory="16G"),
    "Tuner": Resources(cpu=4, memory="16G"),
}
_TYPES = {"cpu": float, "memory": str, "gpu": int, "gpu_type": str}


def parse_resources(options: Sequence[str]) -> dict[str, Resources]:
    """Returns the defaults, changed by options such as `Trainer:cpu=8,memory=32G,gpu=1`; without a name, of all others.

    Raises:
      ResourcesError: an option of another form, or a value out of range.
    """
    resources = dict(DEFAULTS)
    for option in options:
        name, colon, text = option.rpartition(":")
        if colon and not _NAME.fullmatch(name):
            raise ResourcesError(
                f"resources {option!r}: expected COMPONENT:cpu=…,memory=…,gpu=…, got the name {name!r}"
            )
        changes = {}
        for pair in text.split(","):
            key, equals, value = pair.partition("=")
            if key not in _TYPES or not equals:
                raise ResourcesError(f"resources {option!r}: expected KEY=VALUE of {', '.join(_TYPES)}, got {pair!r}")
            try:
                changes[key] = _TYPES[key](value)
            except ValueError:
                raise ResourcesError(f"resources {option!r}: {key}: expected a number, got {value!r}") from None
        try:
            resources[name] = replace(resources.get(name, resources[OTHERS]), **changes)
        except ResourcesError as error:
            raise ResourcesError(f"resources {option!r}: {error}") from None
    return resources
