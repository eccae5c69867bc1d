"""A gateway before another server: requests of ids are completed from a store, and everything else passes through."""

from collections.abc import Mapping, MutableMapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
)

from schema.columns import ITEM_ID, USER_ID
from schema.served import RANK
from serving.gateway.completing import Completing
from serving.gateway.handler import StoreRequests
from serving.gateway.request_log import RequestLog
from serving.gateway.upstream import Upstream, signature_map
from serving.local_server import json_tensors
from serving.local_server.handler import RequestHandler
from serving.local_server.prometheus import Metrics
from serving.local_server.versions import AVAILABLE
from serving.model import messages
from serving.model.errors import Code, ServingError
from serving.model.predict import Limits, Value, find_signature
from serving.model.tensorflow_c import string_proto


class ForwardingHandler(StoreRequests, RequestHandler):
    """Asks an upstream what it is asked, of requests of ids after completing them."""

    takes_events = True

    def __init__(
        self,
        upstream: Upstream,
        name: str,
        limits: Limits,
        metrics: Metrics,
        completing: Completing,
        degrade: bool,
        request_log: RequestLog | None = None,
    ):
        """Takes what `StoreRequests` does, and the upstream; `name` is of the model by which it is called healthy."""
        super().__init__(limits, metrics, completing, degrade, request_log)
        self._upstream, self._name, self.metrics = upstream, name, metrics

    def predict(
        self, request: predict_pb2.PredictRequest, headers: MutableMapping[str, str] | None = None
    ) -> predict_pb2.PredictResponse:
        with self.metrics.request("GRPC"):
            return self._upstream.predict(self._completed_request(request, {} if headers is None else headers))

    def predict_json(
        self, spec: model_pb2.ModelSpec, body: bytes, headers: MutableMapping[str, str] | None = None
    ) -> bytes:
        with self.metrics.request("REST"):
            request = json_tensors.parse(body)
            signature = find_signature(self._upstream.model(spec), request.get("signature_name", ""))
            inputs: Mapping[str, Value] = json_tensors.read_inputs(request, self._readable(signature))
            inputs = self._inputs(signature, inputs, {} if headers is None else headers)
            upstream_request = _with_inputs(predict_pb2.PredictRequest(model_spec=spec), inputs)
            upstream_request.model_spec.signature_name = signature.name
            answer = self._upstream.predict(upstream_request)
            outputs = {name: tf.make_ndarray(proto) for name, proto in answer.outputs.items()}
            return json_tensors.write_outputs(request, outputs)

    def _completed_request(
        self, request: predict_pb2.PredictRequest, headers: MutableMapping[str, str]
    ) -> predict_pb2.PredictRequest:
        if request.model_spec.signature_name != RANK or not {USER_ID, ITEM_ID} <= request.inputs.keys():
            return request
        signature = find_signature(self._upstream.model(request.model_spec), RANK)
        inputs = self._inputs(signature, request.inputs, headers)
        if inputs is request.inputs:
            return request
        upstream_request = predict_pb2.PredictRequest(
            model_spec=request.model_spec, output_filter=request.output_filter
        )
        return _with_inputs(upstream_request, inputs)

    def is_serving(self) -> bool:
        try:
            states = self._upstream.status(model_pb2.ModelSpec(name=self._name)).model_version_status
        except ServingError:
            return False
        return any(version.state == AVAILABLE for version in states)

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        return self._upstream.metadata(request)

    def metadata_json(self, spec: model_pb2.ModelSpec) -> dict:
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        answer = self._upstream.metadata(request)
        signatures = messages.as_json(signature_map(answer))
        return {"model_spec": messages.as_json(answer.model_spec), "metadata": {"signature_def": signatures}}

    def status(self, spec: model_pb2.ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
        return self._upstream.status(spec)

    def reload_config(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        raise ServingError(
            Code.UNIMPLEMENTED,
            f"this is a gateway; the server at {self._upstream.address} has the model's configuration",
        )


def _with_inputs(request: predict_pb2.PredictRequest, inputs: Mapping[str, Value]) -> predict_pb2.PredictRequest:
    """Returns the request with inputs added to it."""
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(value if isinstance(value, tensor_pb2.TensorProto) else _proto(value))
    return request


def _proto(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Returns an array as a message; numbers as their bytes, which costs the least."""
    if array.dtype == object:
        return string_proto(array)
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum, tensor_content=array.tobytes())
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_shape.SetInParent()
    return proto
