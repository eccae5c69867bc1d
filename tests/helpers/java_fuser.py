"""Plans Beam jobs by Java's fuser, as the job servers of Flink and Spark do."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

_FUSER = Path(__file__).parents[1] / "java_fuser"
_CLASSPATH = _FUSER / "target" / "classpath"
MISSING = "Java's graph fuser isn't here, with a JDK and Maven `make fuser` brings it"


def is_there() -> bool:
    """Returns whether `make fuser` has brought the fuser, and Java can run it."""
    return _CLASSPATH.exists() and shutil.which("java") is not None


def planned(jobs: dict[str, Any], directory: Path) -> dict[str, str]:
    """Returns what the fuser says of each job: `ok`, or why it takes none."""
    for name, job in jobs.items():
        (directory / name).write_bytes(job.SerializeToString())
    classpath = f"{_FUSER / 'target' / 'classes'}:{_CLASSPATH.read_text().strip()}"
    command = ["java", "-cp", classpath, "PlanJobs", *(str(directory / name) for name in jobs)]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return {Path(file).name: said for file, said in (line.split("\t", 1) for line in lines)}
