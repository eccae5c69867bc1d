"""One JSON object a line: what happened, when, and to which version."""

import json
import logging
import sys
import time
from typing import Any, TextIO

_LOGGER = logging.getLogger("fulcrum.serving")


def log(event: str, level: int = logging.INFO, exc_info: bool = False, **fields: Any) -> None:
    """Logs `event` with its `fields`, and the exception that is being handled with `exc_info`."""
    _LOGGER.log(level, event, exc_info=exc_info, extra={"fields": fields})


class JsonLines(logging.Formatter):
    """`{"time": …, "level": …, "event": …, <fields>}`, newlines in values escaped by JSON."""

    def format(self, record: logging.LogRecord) -> str:
        time_utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{time_utc}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to(stream: TextIO = sys.stderr, level: int = logging.INFO) -> None:
    """Sends the server's log to `stream`, and nowhere else."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    _LOGGER.handlers, _LOGGER.propagate = [handler], False
    _LOGGER.setLevel(level)
