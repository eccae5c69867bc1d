"""What the server can be asked, in messages of TensorFlow Serving's API; the two protocols are front ends of this."""

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Protocol

import numpy as np
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
)

from serving.local_server import json_tensors
from serving.local_server.prometheus import Metrics
from serving.local_server.versions import Versions
from serving.model import messages
from serving.model.errors import Code, ServingError, invalid
from serving.model.predict import Limits, Value, find_signature, predict
from serving.model.saved_model import Signature


class RequestHandler(Protocol):
    """What both protocols ask. Its methods may be called from many threads at once, and raise ServingError.

    Attributes:
      metrics: what Prometheus reads.
      takes_events: whether `count_events` adds events to something.
    """

    metrics: Metrics
    takes_events: bool

    def predict(
        self, request: predict_pb2.PredictRequest, headers: MutableMapping[str, str] | None = None
    ) -> predict_pb2.PredictResponse:
        """Answers a request; what is to be said of the answer beside it goes into `headers`."""
        ...

    def predict_json(
        self, spec: model_pb2.ModelSpec, body: bytes, headers: MutableMapping[str, str] | None = None
    ) -> bytes:
        """Answers a request in JSON; see `predict`."""
        ...

    def count_events(self, body: bytes) -> dict:
        """Adds the events of a body, a JSON object a line, to a store; the answer has an `error` if none is of use."""
        ...

    def is_serving(self) -> bool:
        """Returns whether a version answers."""
        ...

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Returns the signatures of a version."""
        ...

    def metadata_json(self, spec: model_pb2.ModelSpec) -> dict:
        """Returns the signatures of a version as JSON."""
        ...

    def status(self, spec: model_pb2.ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns where each version stands."""
        ...

    def reload_config(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        """Takes another configuration."""
        ...


class Handler(RequestHandler):
    """Answers requests about one model that is loaded here."""

    takes_events = False

    def __init__(self, versions: Versions, limits: Limits, metrics: Metrics):
        self._versions = versions
        self._limits = limits
        self.metrics = metrics

    def predict(
        self, request: predict_pb2.PredictRequest, headers: MutableMapping[str, str] | None = None
    ) -> predict_pb2.PredictResponse:
        """Answers a request; what is to be said of the answer beside it goes into `headers`."""
        with self.metrics.request("GRPC"), self._versions.lease(request.model_spec) as (version, model):
            signature = find_signature(model, request.model_spec.signature_name)
            inputs = self._inputs(signature, request.inputs, {} if headers is None else headers)
            outputs = predict(model, signature, inputs, request.output_filter, self._limits)
            return messages.predict_response(self._versions.name, version, signature.name, outputs)

    def predict_json(
        self, spec: model_pb2.ModelSpec, body: bytes, headers: MutableMapping[str, str] | None = None
    ) -> bytes:
        """Answers a request in JSON; see `predict`."""
        with self.metrics.request("REST"), self._versions.lease(spec) as (_, model):
            request = json_tensors.parse(body)
            signature = find_signature(model, request.get("signature_name", ""))
            inputs: Mapping[str, Value] = json_tensors.read_inputs(request, self._readable(signature))
            inputs = self._inputs(signature, inputs, {} if headers is None else headers)
            outputs: Mapping[str, np.ndarray] = predict(model, signature, inputs, (), self._limits)
            return json_tensors.write_outputs(request, outputs)

    def count_events(self, body: bytes) -> dict:
        """Refuses events: there is nothing that they could be added to."""
        raise ServingError(Code.UNIMPLEMENTED, "events: this server has no store")

    def _readable(self, signature: Signature) -> Signature:
        """Returns the signature by which a request's JSON is read."""
        return signature

    def _inputs(
        self, signature: Signature, inputs: Mapping[str, Value], headers: MutableMapping[str, str]
    ) -> Mapping[str, Value]:
        """Returns what the model is asked, of what the request has."""
        return inputs

    def is_serving(self) -> bool:
        """Returns whether a version answers."""
        return self._versions.serving()

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        unknown = [field for field in request.metadata_field if field != "signature_def"]
        if unknown or not request.metadata_field:
            raise invalid(f"metadata_field: expected ['signature_def'], got {list(request.metadata_field)!r:.200}")
        with self._versions.lease(request.model_spec) as (version, model):
            return messages.metadata(self._versions.name, version, model)

    def metadata_json(self, spec: model_pb2.ModelSpec) -> dict:
        with self._versions.lease(spec) as (version, model):
            return messages.metadata_json(self._versions.name, version, model)

    def status(self, spec: model_pb2.ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=self._versions.status(spec))

    def reload_config(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        """Takes the version policy and the labels of a configuration that has this server's one model, where it is."""
        configs = request.config.model_config_list.config
        if len(configs) != 1 or configs[0].name != self._versions.name:
            names = ", ".join(config.name for config in configs)[:200] or "none"
            raise ServingError(
                Code.UNIMPLEMENTED,
                f"model_config_list: this server has one model, {self._versions.name}, and takes no other; got {names}",
            )
        if configs[0].base_path and Path(configs[0].base_path).resolve() != self._versions.base_path:
            raise ServingError(Code.UNIMPLEMENTED, "base_path: this server can't move its model to another directory")
        self._versions.reconfigure(configs[0].model_version_policy, configs[0].version_labels)
        return model_management_pb2.ReloadConfigResponse()
