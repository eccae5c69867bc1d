"""A schema that is known when the pipeline is built, as an artifact; it travels in the pipeline, not as a file."""

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import io_utils

# Of SchemaGen and ImportSchemaGen; readers take the only file in the folder.
FILE = "schema.pbtxt"


@component
def SchemaSource(  # noqa: N802 (components are named like classes)
    text: Parameter[str],
    schema: OutputArtifact[standard_artifacts.Schema],
) -> None:
    """Writes `text`, a Schema in protobuf's text format."""
    io_utils.write_string_file(f"{schema.uri}/{FILE}", text)
