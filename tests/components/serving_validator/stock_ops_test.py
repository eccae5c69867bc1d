import pytest
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from components.serving_validator.stock_ops import foreign_ops, is_registered, serving_graph


@pytest.fixture
def graph() -> meta_graph_pb2.MetaGraphDef:
    """A node that calls the function f, which adds."""
    meta_graph = meta_graph_pb2.MetaGraphDef()
    meta_graph.meta_info_def.tags.append("serve")
    meta_graph.graph_def.node.add(name="call", op="f")
    function = meta_graph.graph_def.library.function.add()
    function.signature.name = "f"
    function.node_def.add(name="sum", op="AddV2")
    return meta_graph


def test_tensorflows_operations_and_calls_of_functions_are_fine(graph):
    assert foreign_ops(graph) == []


def test_a_foreign_operation_is_named_with_its_place_once(graph):
    for name in ("one", "two"):
        graph.graph_def.library.function[0].node_def.add(name=name, op="Tokenize")
    graph.graph_def.node.add(name="top", op="Detokenize")
    assert foreign_ops(graph) == [
        "the operation Detokenize (node 'top') is not TensorFlow's own",
        "the operation Tokenize (node 'one' of function 'f') is not TensorFlow's own",
    ]


def test_an_operation_that_calls_python_is_foreign_although_tensorflow_has_it(graph):
    graph.graph_def.node.add(name="call_back", op="EagerPyFunc")
    assert is_registered("EagerPyFunc")
    assert foreign_ops(graph) == ["the operation EagerPyFunc (node 'call_back') needs Python"]


def test_the_graph_that_is_served_is_found_among_others(graph, tmp_path):
    model = saved_model_pb2.SavedModel()
    model.meta_graphs.add().meta_info_def.tags.append("train")
    model.meta_graphs.add().CopyFrom(graph)
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    assert serving_graph(tmp_path) == graph
    del model.meta_graphs[1]
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="has no graph tagged 'serve'"):
        serving_graph(tmp_path)
