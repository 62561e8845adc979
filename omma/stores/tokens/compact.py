"""The three parts of a token, as far as they can be read before anything is verified."""

import base64
import binascii
import re

from pydantic import ValidationError

from omma.domain.errors import TokenInvalid
from omma.domain.tokens import LONGEST_TOKEN
from omma.stores.tokens.claims import Claims, Part, parse_claims

PARTS = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


class Header(Part):
    """Decides nothing but which key is tried."""

    alg: str
    kid: str | None = None
    crit: None = None  # extensions that must be understood: we understand none
    b64: None = None


def read_header(token: str) -> Header:
    """Its header; raises `TokenInvalid` for whatever is not three parts in base64url."""
    first, _, signature = _parts(token)
    if not _is_canonical(signature):
        raise TokenInvalid("expected a JSON Web Token: its signature is not base64url")
    try:
        return Header.model_validate_json(_decoded(first))
    except (ValidationError, binascii.Error):
        raise TokenInvalid("the token's header is not one that is understood here") from None


def read_unverified(token: str) -> Claims:
    """What it says, true or not; raises `TokenInvalid`."""
    try:
        return parse_claims(_decoded(_parts(token)[1]))
    except binascii.Error:
        raise TokenInvalid("expected a JSON Web Token: its claims are not base64url") from None


def _parts(token: str) -> tuple[str, str, str]:
    if len(token) > LONGEST_TOKEN:
        raise TokenInvalid(f"expected a token of at most {LONGEST_TOKEN} characters")
    found = PARTS.fullmatch(token)
    if found is None:
        raise TokenInvalid("expected a JSON Web Token: three parts in base64url")
    return found[1], found[2], found[3]


def _is_canonical(part: str) -> bool:
    """Whether no other text stands for the same bytes: one token has one spelling."""
    try:
        return base64.urlsafe_b64encode(_decoded(part)).rstrip(b"=") == part.encode()
    except binascii.Error:
        return False


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
