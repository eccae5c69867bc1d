"""TensorFlow Serving's PredictionService and ModelService over gRPC."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.wrappers_pb2 import StringValue
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

from serving.local_server.handler import RequestHandler
from serving.local_server.health import SERVICE, Health
from serving.local_server.logs import log
from serving.model.errors import Code, ServingError, invalid

_STATUS = {status.value[0]: status for status in grpc.StatusCode}
_NOT_HERE = ("Classify", "Regress", "MultiInference")
_INTERNAL = "internal error; the server's log has the reason"


def start_grpc(
    handler: RequestHandler, health: Health, address: str, max_request_bytes: int, threads: int
) -> tuple[grpc.Server, int]:
    """Starts a server; returns it and its port.

    Raises:
      RuntimeError: the address can't be bound.
    """
    server = grpc.server(
        ThreadPoolExecutor(threads, thread_name_prefix="grpc"),
        options=[
            ("grpc.max_receive_message_length", max_request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
    )
    server.add_generic_rpc_handlers((_prediction_service(handler), _model_service(handler), _health_service(health)))
    port = server.add_insecure_port(address)
    server.start()
    return server, port


def _prediction_service(handler: RequestHandler) -> grpc.GenericRpcHandler:
    methods = {
        "Predict": _method(handler.predict, predict_pb2.PredictRequest, with_headers=True),
        "GetModelMetadata": _method(handler.metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        **{name: _unimplemented(name) for name in _NOT_HERE},
    }
    return grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", methods)


def _model_service(handler: RequestHandler) -> grpc.GenericRpcHandler:
    methods = {
        "GetModelStatus": _method(lambda r: handler.status(r.model_spec), get_model_status_pb2.GetModelStatusRequest),
        "HandleReloadConfigRequest": _method(handler.reload_config, model_management_pb2.ReloadConfigRequest),
    }
    return grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", methods)


def _health_service(health: Health) -> grpc.GenericRpcHandler:
    methods = {"Check": _method(health.check, StringValue), "Watch": health.watch()}
    return grpc.method_handlers_generic_handler(SERVICE, methods)


def _method(
    answer: Callable[..., Message], request_type: type[Message], with_headers: bool = False
) -> grpc.RpcMethodHandler:
    # The bytes are parsed here and not by gRPC, which would call a broken message an internal error of the server.
    def call(body: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            try:
                request = request_type.FromString(body)
            except DecodeError:
                raise invalid(f"the request is not a {request_type.DESCRIPTOR.full_name} message") from None
            if not with_headers:
                return answer(request).SerializeToString()
            headers: dict[str, str] = {}
            response = answer(request, headers).SerializeToString()
            if headers:
                context.send_initial_metadata(tuple(headers.items()))
            return response
        except ServingError as error:
            _abort(context, error)
        except Exception:
            log("request failed", logging.ERROR, exc_info=True, protocol="grpc")
            _abort(context, ServingError(Code.INTERNAL, _INTERNAL))

    return grpc.unary_unary_rpc_method_handler(call)


def _abort(context: grpc.ServicerContext, error: ServingError) -> NoReturn:
    context.abort(_STATUS[error.code], error.message)
    raise AssertionError("abort raises")


def _unimplemented(name: str) -> grpc.RpcMethodHandler:
    def call(body: bytes, context: grpc.ServicerContext) -> bytes:
        message = f"{name} takes tf.Examples by signatures of its own, which this model has not; use Predict"
        _abort(context, ServingError(Code.UNIMPLEMENTED, message))

    return grpc.unary_unary_rpc_method_handler(call)
