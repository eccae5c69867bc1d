"""The executor of EvaluationReport: artifacts in, a page out."""

from dataclasses import replace
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from report import INDEX
from report.lineage import Lineage, NoRunError, read_lineage
from report.material import Artifact, read_material
from report.report import report


class Executor(base_executor.BaseExecutor):
    """Reads what the run left behind, and writes the page."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        self._log_startup(input_dict, output_dict, exec_properties)
        artifacts = {key: _artifact(found[0]) for key, found in input_dict.items() if found}
        lineage = self._lineage(exec_properties.get("metadata_path"))
        name, run = (lineage.pipeline, lineage.run_id) if lineage else self._names(input_dict)
        page = report(read_material(name, run, artifacts, lineage))
        folder = artifact_utils.get_single_instance(output_dict["report"]).uri
        io_utils.write_string_file(f"{folder}/{INDEX}", page)

    def _lineage(self, metadata_path: str | None) -> Lineage | None:
        run_id = self._context.pipeline_run_id if self._context else None
        if not metadata_path or not run_id:
            return None
        node = self._context.pipeline_node
        own = node.node_info.id if node else None
        try:
            found = read_lineage(metadata_path, run_id)
            # This stage itself is still under way.
            return replace(found, executions=tuple(one for one in found.executions if one.stage != own))
        except NoRunError as error:
            logging.warning("The report goes without the run's lineage: %s", error)
            return None

    def _names(self, inputs: dict[str, list[types.Artifact]]) -> tuple[str, str]:
        """The pipeline's name from an artifact, and the run's where the orchestrator says it."""
        names = [artifact.pipeline_name for found in inputs.values() for artifact in found if artifact.pipeline_name]
        run = self._context.pipeline_run_id if self._context else None
        return (names[0] if names else "ranker"), run or "(unnamed)"


def _artifact(artifact: types.Artifact) -> Artifact:
    properties = {}
    for key, value in artifact.mlmd_artifact.custom_properties.items():
        if kind := value.WhichOneof("value"):
            properties[key] = getattr(value, kind)
    return Artifact(artifact.uri, properties)
