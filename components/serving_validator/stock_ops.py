"""Finds the operations of a graph that TensorFlow Serving lacks: other libraries', and those that call Python."""

from collections.abc import Callable, Iterator
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow.python.framework import op_def_registry

_SERVE = "serve"
# Registered in every TensorFlow, but what they call lives in the Python process that made the graph.
_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})


def is_registered(op: str) -> bool:
    """Returns whether this process knows `op`, which means something only where nothing but TensorFlow is imported."""
    return op_def_registry.get(op) is not None


def serving_graph(folder: Path) -> meta_graph_pb2.MetaGraphDef:
    """Reads the graph in the SavedModel `folder` that is meant to be served.

    Raises:
      ValueError: there is none; says why.
    """
    try:
        model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{folder.name} has no saved_model.pb") from None
    except DecodeError:
        raise ValueError(f"{folder.name}/saved_model.pb is not a SavedModel") from None
    for graph in model.meta_graphs:
        if _SERVE in graph.meta_info_def.tags:
            return graph
    raise ValueError(f"{folder.name}/saved_model.pb has no graph tagged {_SERVE!r}")


def foreign_ops(graph: meta_graph_pb2.MetaGraphDef, is_stock: Callable[[str], bool] = is_registered) -> list[str]:
    """Returns one line an operation, functions included, that TensorFlow Serving does not have; names one node each."""
    functions = {function.signature.name for function in graph.graph_def.library.function}
    findings: dict[str, str] = {}
    for where, node in _nodes(graph):
        if node.op in _PYTHON:
            findings.setdefault(node.op, f"the operation {node.op} ({where}) needs Python")
        elif node.op not in functions and not is_stock(node.op):
            findings.setdefault(node.op, f"the operation {node.op} ({where}) is not TensorFlow's own")
    return [findings[op] for op in sorted(findings)]


def _nodes(graph: meta_graph_pb2.MetaGraphDef) -> Iterator[tuple[str, node_def_pb2.NodeDef]]:
    for node in graph.graph_def.node:
        yield f"node {node.name!r}", node
    for function in graph.graph_def.library.function:
        for node in function.node_def:
            yield f"node {node.name!r} of function {function.signature.name!r}", node
