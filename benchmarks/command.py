"""The command `fulcrum`, in a process of its own."""

import subprocess
import sys

FULCRUM = (sys.executable, "-m", "pipeline.cli")


def fulcrum(*arguments: object) -> None:
    """Runs it to its end; where it fails, this process ends with what it said."""
    done = subprocess.run([*FULCRUM, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"fulcrum {arguments[0]} failed:\n{done.stdout}{done.stderr}")
