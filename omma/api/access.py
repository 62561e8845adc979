"""Who may ask what: the dependency that every route has, and the rule that it carries."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.models import HTTPBearer as BearerScheme
from fastapi.routing import iter_route_contexts
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from omma.api.options import Context
from omma.api.pages import refuse_strange_hosts, refuse_strange_pages
from omma.domain.errors import AdminRequired, PermissionMissing
from omma.domain.tokens import Principal
from omma.services.tokens import bearer

IN_QUERY = "access_token"  # RFC 6750, 2.3: for clients that cannot set headers


class Owner(StrEnum):
    """Whose things a route shows or changes; administrators see everybody's."""

    NOBODY = ""
    SUBJECT = "the token's subject"
    HOLDER = "anybody, by the id alone"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route asks of a request."""

    permission: str | None = None
    admin: bool = False
    is_public: bool = False
    owner: Owner = Owner.NOBODY
    in_query: bool = False


class Guard(SecurityBase):
    """A dependency that answers the `Principal`, or refuses the request; OpenAPI shows it."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.scheme_name = "bearer"
        self.model = BearerScheme(bearerFormat="JWT")

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """Raise what is wrong with the token, or with what it may."""
        refuse_strange_pages(connection)
        context: Context = connection.app.state.context
        gate = context.services.gate
        principal = await gate.admit(self._token(connection))
        # Without tokens everybody is the same subject, which then has no share of its own.
        connection.state.subject = None if gate.is_open else principal.subject
        if self.rule.admin and not principal.is_admin:
            raise AdminRequired("Admin access required")
        if self.rule.permission and not principal.may(self.rule.permission):
            raise PermissionMissing(f"Missing required permission: {self.rule.permission}")
        return principal

    def _token(self, connection: HTTPConnection) -> str | None:
        token = bearer(connection.headers.getlist("authorization"))
        if token is None and self.rule.in_query:
            return connection.query_params.get(IN_QUERY)
        return token


class Open:
    """A dependency that asks for no token, on purpose."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    async def __call__(self, connection: HTTPConnection) -> None:
        """Raise `HostRefused`, at most."""
        refuse_strange_hosts(connection)


def require(
    permission: str | None = None,
    *,
    admin: bool = False,
    owner: Owner = Owner.NOBODY,
    in_query: bool = False,
) -> Guard:
    """A dependency that answers who asks, having made sure that they may.

    With ``in_query``, for event streams and sockets alone, the token may also come as
    ``?access_token=``: browsers set no headers there.
    """
    return Guard(Rule(permission, admin, owner=owner, in_query=in_query))


public = Open(Rule(is_public=True))
public_by_id = Open(Rule(is_public=True, owner=Owner.HOLDER))


@dataclass(frozen=True, slots=True)
class RouteRule:
    """One way to ask one path, and its rule: None where nobody has said one."""

    method: str  # WS for sockets
    path: str
    rule: Rule | None


def rules_of(app: FastAPI) -> Iterator[RouteRule]:
    """Every route that an application has, in the order in which they are tried."""
    for route in iter_route_contexts(app.routes):
        dependant: Dependant | None = getattr(route, "dependant", None)
        rule = next(_rules(dependant), None) if dependant else None
        for method in sorted(route.methods or {"WS"}):
            yield RouteRule(method, route.path or "", rule)


def _rules(dependant: Dependant) -> Iterator[Rule]:
    if isinstance(dependant.call, Guard | Open):
        yield dependant.call.rule
    for below in dependant.dependencies:
        yield from _rules(below)
