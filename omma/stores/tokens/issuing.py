"""Tokens of our own: keys to sign them with, and what they say."""

import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from omma.domain.errors import CannotStart, TokenInvalid
from omma.domain.tokens import LONGEST_TOKEN
from omma.stores.tokens.claims import parse_claims
from omma.stores.tokens.keys import CURVE, ES256, HS256, read_file

OWN_EYES, EVERYBODY = 0o600, 0o644

SigningKey = EllipticCurvePrivateKey | bytes  # for ES256, or shared for HS256


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom a token names, what it opens, and for how long."""

    subject: str
    permissions: tuple[str, ...] = ()
    is_admin: bool = False
    lifetime_s: float = 3600.0
    issuer: str = ""
    audience: str = ""


def make_keys(private: Path, public: Path) -> None:
    """Write a new pair as PEM; raises `FileExistsError` rather than lose an older one."""
    if taken := next((path for path in (private, public) if path.exists()), None):
        raise FileExistsError(str(taken))
    key = generate_private_key(SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_new(private, pem, OWN_EYES)
    public_format = PublicFormat.SubjectPublicKeyInfo
    _write_new(public, key.public_key().public_bytes(Encoding.PEM, public_format), EVERYBODY)


def read_private_key(path: Path) -> EllipticCurvePrivateKey:
    """The key in a PEM file; raises `CannotStart` with the reason."""
    try:
        key = load_pem_private_key(read_file(path, "private key"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CannotStart(f"{str(path)!r} is not a private key in PEM without password") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise CannotStart(f"expected a key on the curve {CURVE}, for {ES256}, in {str(path)!r}")
    return key


def issue(grant: Grant, key: SigningKey) -> str:
    """A token that says so; raises `TokenInvalid` where no server would take it."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "sub": grant.subject,
        "permissions": list(grant.permissions),
        "is_admin": grant.is_admin,
        "iat": now,
        "exp": now + max(1, round(grant.lifetime_s)),
        "jti": secrets.token_hex(16),
    }
    claims |= {"iss": grant.issuer} if grant.issuer else {}
    claims |= {"aud": grant.audience} if grant.audience else {}
    if isinstance(key, bytes):  # as the services that share a secret expect it
        claims |= {"user": {"user_uid": grant.subject}, "refresh": False}
    parse_claims(json.dumps(claims).encode())
    token = jwt.encode(claims, key, HS256 if isinstance(key, bytes) else ES256)
    if len(token) > LONGEST_TOKEN:
        raise TokenInvalid(f"expected a token of at most {LONGEST_TOKEN} characters")
    return token


def _write_new(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
