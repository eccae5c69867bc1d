"""A schema that is known when the pipeline is built, as an artifact; it travels in the pipeline, not as a file."""

from tfx import v1 as tfx
from tfx.utils import io_utils

# Of SchemaGen and ImportSchemaGen; readers take the only file in the folder.
FILE = "schema.pbtxt"


@tfx.dsl.components.component
def SchemaSource(  # noqa: N802 (components are named like classes)
    text: tfx.dsl.components.Parameter[str],
    schema: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Schema],
) -> None:
    """Writes `text`, a Schema in protobuf's text format."""
    io_utils.write_string_file(f"{schema.uri}/{FILE}", text)
