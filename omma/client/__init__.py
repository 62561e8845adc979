"""The Python client of a running omma: what the command uses, and you may too.

A name is imported when it is asked for: the command starts with the few that it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omma.client.client import Client
    from omma.client.connection import DEFAULT_URL, Heard
    from omma.client.errors import (
        AnswerTimeout,
        ClientError,
        NotOmma,
        RequestRefused,
        ServerUnreachable,
    )

__all__ = [
    "DEFAULT_URL",
    "AnswerTimeout",
    "Client",
    "ClientError",
    "Heard",
    "NotOmma",
    "RequestRefused",
    "ServerUnreachable",
]

ELSEWHERE = {"Client": "client", "DEFAULT_URL": "connection", "Heard": "connection"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{ELSEWHERE.get(name, 'errors')}"), name)
