"""TensorFlow Serving's REST API (https://www.tensorflow.org/tfx/serving/api_rest) and its Prometheus metrics."""

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from aiohttp import web
from tensorflow_serving.apis import model_pb2

from serving.local_server import prometheus as metrics
from serving.local_server.handler import RequestHandler
from serving.local_server.logs import log
from serving.model import messages
from serving.model.errors import Code, ServingError, invalid

T = TypeVar("T")
# How many look at the server at once.
_LOOKING = 2
_MODEL = r"/v1/models/{name:[^/:]+}"
_TARGETS = (_MODEL, _MODEL + r"/versions/{version:[^/:]+}", _MODEL + r"/labels/{label:[^/:]+}")


class Pools:
    """The threads of what takes time, so that the event loop is always free to take the next request.

    Each has threads of its own: neither events, which wait for one another, nor whoever looks at the server, who may
    wait for a store or for another server, take those of the predictions.
    """

    def __init__(self, threads: int):
        self.predicting = ThreadPoolExecutor(threads, thread_name_prefix="rest")
        self.counting = ThreadPoolExecutor(1, thread_name_prefix="events")
        self.looking = ThreadPoolExecutor(_LOOKING, thread_name_prefix="looking")

    def shutdown(self) -> None:
        for pool in (self.predicting, self.counting, self.looking):
            pool.shutdown()


async def _run(pool: ThreadPoolExecutor, call: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, call, *arguments)


def make_app(handler: RequestHandler, max_request_bytes: int, pools: Pools) -> web.Application:
    """Returns the application with its routes; what takes time runs in `pools`."""

    async def status(request: web.Request) -> web.Response:
        return _json(messages.as_json(await _run(pools.looking, handler.status, _spec(request))))

    async def metadata(request: web.Request) -> web.Response:
        return _json(await _run(pools.looking, handler.metadata_json, _spec(request)))

    async def predict(request: web.Request) -> web.Response:
        spec, body = _spec(request), await request.read()
        headers: dict[str, str] = {}
        answer = await _run(pools.predicting, handler.predict_json, spec, body, headers)
        return web.Response(body=answer, content_type="application/json", headers=headers)

    async def events(request: web.Request) -> web.Response:
        body = await request.read()
        answer = await _run(pools.counting, handler.count_events, body)
        return _json(answer, Code.INVALID_ARGUMENT.http if "error" in answer else 200)

    async def unimplemented(request: web.Request) -> web.Response:
        raise ServingError(Code.UNIMPLEMENTED, f"{request.match_info['verb']} is not served here; use predict")

    async def read_metrics(_: web.Request) -> web.Response:
        text = await _run(pools.looking, handler.metrics.text)
        return web.Response(body=text, headers={"Content-Type": metrics.CONTENT_TYPE})

    app = web.Application(client_max_size=max_request_bytes, middlewares=[_errors_as_json])
    for target in _TARGETS:
        app.router.add_get(target, status)
        app.router.add_get(target + "/metadata", metadata)
        app.router.add_post(target + ":predict", predict)
        app.router.add_post(target + ":{verb:classify|regress}", unimplemented)
    app.router.add_get(metrics.PATH, read_metrics)
    if handler.takes_events:
        app.router.add_post("/v1/events", events)
    return app


def _spec(request: web.Request) -> model_pb2.ModelSpec:
    match = request.match_info
    spec = model_pb2.ModelSpec(name=match["name"])
    if "version" in match:
        try:
            spec.version.value = int(match["version"])
        except ValueError:
            raise invalid(f"version: expected a whole number of 64 bits, got {match['version'][:80]!r}") from None
    elif "label" in match:
        spec.version_label = match["label"]
    return spec


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answers `{"error": message}` for whatever goes wrong."""
    try:
        return await handler(request)
    except ServingError as error:
        return _json({"error": error.message}, error.code.http)
    except web.HTTPRequestEntityTooLarge as error:
        return _json({"error": f"the request's body is too large: {error.text}"}, error.status)
    except web.HTTPNotFound:
        return _json({"error": f"Malformed request: {request.method} {request.path[:200]}"}, 404)
    except web.HTTPException as error:
        return _json({"error": f"{error.reason}: {request.method} {request.path[:200]}"}, error.status)
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:
        log("request failed", logging.ERROR, exc_info=True, protocol="rest")
        return _json({"error": "internal error; the server's log has the reason"}, 500)


def _json(answer: dict, status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(answer, indent=1).encode(), status=status, content_type="application/json")


class RestServer:
    """The application on an event loop in a thread of its own."""

    def __init__(
        self, handler: RequestHandler, host: str, port: int, max_request_bytes: int, threads: int, grace_seconds: float
    ):
        """Raises OSError where the address can't be bound."""
        self._pools = Pools(threads)
        app = make_app(handler, max_request_bytes, self._pools)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=grace_seconds)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rest", daemon=True)
        self._thread.start()
        try:
            self.port = self._wait(self._start(host, port))
        except BaseException:
            self.stop()
            raise

    async def _start(self, host: str, port: int) -> int:
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return self._runner.addresses[0][1]

    def stop(self) -> None:
        """Takes no more requests, and waits for those under way, for `grace_seconds` at most."""
        self._wait(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._pools.shutdown()

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
