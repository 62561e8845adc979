"""Whose pages a browser may show while they ask us: where nobody has a token, any could."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from omma.api.options import Context
from omma.domain.errors import Forbidden, HostRefused
from omma.domain.hosts import is_loopback

ANY = "*"


def refuse_strange_hosts(connection: HTTPConnection) -> None:
    """Raise `HostRefused` where nobody is asked for a token and another host was asked than ours.

    A page may make its own name lead to this machine: browsers then take us for its server.
    """
    context: Context = connection.app.state.context
    if not context.services.gate.is_open:
        return
    host = connection.headers.get("host", "")
    if not is_own_host(host, context.options.cors_origins):
        raise HostRefused(
            f"without tokens expected a Host of this machine, like localhost, got {host[:100]!r}:"
            " configure a key, or name its origin in http.cors_origins"
        )


def refuse_strange_pages(connection: HTTPConnection) -> None:
    """The same, also for pages that say they are of another origin than what they ask."""
    refuse_strange_hosts(connection)
    context: Context = connection.app.state.context
    if context.services.gate.is_open and not is_own_page(connection, context.options.cors_origins):
        raise Forbidden("without tokens, pages of other sites need http.cors_origins to ask")


def is_own_host(asked: str, allowed: Sequence[str]) -> bool:
    """Whether a Host header names this machine, or the host of an origin that is allowed."""
    host = _name("//" + asked)
    return ANY in allowed or is_loopback(host) or (host != "" and host in map(_name, allowed))


def is_own_page(connection: HTTPConnection, allowed: Sequence[str]) -> bool:
    """Whether a browser asks for a page of ours or an allowed one; who sends no origin is no page.

    Any page that its user visits could otherwise act in their stead.
    """
    origin = connection.headers.get("origin")
    if origin is None or ANY in allowed or origin in allowed:
        return True
    return origin.partition("://")[2] == connection.headers.get("host")


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
