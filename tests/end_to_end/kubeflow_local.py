"""Runs a compiled pipeline by kfp's own local orchestration, each container's command in a process here."""

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
from kfp import components, local
from kfp.local import config, docker_task_handler, status


def run_compiled(compiled: Path, root: Path, log: Path, arguments: dict[str, Any]) -> dict[str, Path]:
    """Runs the pipeline; the folder of each task's outputs, by the name that kfp gives it.

    Raises:
      AssertionError: a task failed, with the end of what the tasks printed; all of it is in `log`.
    """

    def start(handler: docker_task_handler.DockerTaskHandler) -> status.Status:
        # In the place of `docker run IMAGE COMMAND`.
        process = forked.start(_run_command, handler.full_command, log)
        process.join()
        return status.Status.FAILURE if process.exitcode else status.Status.SUCCESS

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(docker_task_handler.DockerTaskHandler, "run", start)
        patch.setattr(config.LocalExecutionConfig, "instance", None)
        local.init(runner=local.DockerRunner(), pipeline_root=str(root), raise_on_error=True)
        try:
            components.load_component_from_file(str(compiled))(**arguments)
        except RuntimeError as error:
            raise AssertionError(f"{error}\n{log.read_text(errors='replace')[-3000:]}") from None
    (run,) = root.iterdir()
    return {task.name: task for task in run.iterdir()}


def _run_command(command: list[str], log: Path) -> None:
    """As the interpreter does: `python -m MODULE ARGUMENT…`, with what it prints appended to `log`."""
    python, dash_m, module, *arguments = command
    assert (python, dash_m) == ("python", "-m")
    printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
