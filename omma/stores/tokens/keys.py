"""Keys that tokens are verified with, each bound to the one algorithm that it is for."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK, PyJWTError

from omma.domain.errors import CannotStart

ES256, HS256 = "ES256", "HS256"
CURVE = "P-256"  # as JSON Web Keys call the curve of ES256
LEAST_SECRET_BYTES = 32  # as long as the hash: RFC 7518, 3.2
MOST_KEYS = 32  # of one set: a token without an id is held against each
PRIVATE = b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class Key:
    """What one algorithm verifies with; ``kid`` is empty where tokens need not name the key."""

    algorithm: str
    material: EllipticCurvePublicKey | bytes = field(repr=False)
    kid: str = ""

    def fits(self, algorithm: str, kid: str | None) -> bool:
        """Whether a token that claims these may have been signed for this key."""
        return self.algorithm == algorithm and (not self.kid or not kid or self.kid == kid)


@dataclass(frozen=True, slots=True)
class FixedKeys:
    """Keys that stay as they were at the start."""

    known: Sequence[Key]

    async def keys(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """Those that fit."""
        return [key for key in self.known if key.fits(algorithm, kid)]


def read_public_key(path: Path) -> Key:
    """The key in a PEM file; raises `CannotStart` with the reason."""
    pem = read_file(path, "public key")
    if PRIVATE in pem:
        raise CannotStart(f"{str(path)!r} holds a private key: name the public one, and hide it")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise CannotStart(f"{str(path)!r} is not a public key in PEM") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise CannotStart(f"expected a key on the curve {CURVE}, for {ES256}, in {str(path)!r}")
    return Key(ES256, key)


def secret_key(secret: str) -> Key:
    """The key shared with who issues tokens; raises `CannotStart` when it can be guessed."""
    material = secret.encode("utf-8", "surrogateescape")
    if len(material) < LEAST_SECRET_BYTES:
        raise CannotStart(
            f"expected a token secret of at least {LEAST_SECRET_BYTES} bytes, got {len(material)}:"
            " a shorter one can be guessed from a single token; `openssl rand -hex 32` makes one"
        )
    if b"-----BEGIN" in material:
        raise CannotStart("the token secret is a key in PEM: set it as the public key's path")
    return Key(HS256, material)


def parse_key_set(text: bytes, source: str) -> tuple[Key, ...]:
    """The keys for ES256 in a JSON Web Key Set; raises `CannotStart` when there is none."""
    try:
        document = json.loads(text)
        entries = cast("list[Any]", document["keys"])
        keys = tuple(_es256_keys(entries))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CannotStart(f"{source!r} is not a JSON Web Key Set") from None
    if not keys:
        raise CannotStart(f"{source!r} has no key on the curve {CURVE}, for {ES256}")
    if len(keys) > MOST_KEYS:
        raise CannotStart(f"expected at most {MOST_KEYS} keys in {source!r}, got {len(keys)}")
    return keys


def read_file(path: Path, what: str) -> bytes:
    """Its bytes; raises `CannotStart`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotStart(f"cannot read the {what} at {str(path)!r}: {error.strerror}") from None


def _es256_keys(entries: Iterable[Any]) -> Iterator[Key]:
    """Those of other kinds and uses are for others; an issuer's set may hold many."""
    for entry in entries:
        is_ours = entry.get("kty") == "EC" and entry.get("crv") == CURVE
        if not is_ours or entry.get("use", "sig") != "sig" or entry.get("alg", ES256) != ES256:
            continue
        public = {name: value for name, value in entry.items() if name != "d"}
        try:
            key = PyJWK(public, ES256).key
        except PyJWTError:
            continue
        kid = entry.get("kid", "")
        if isinstance(key, EllipticCurvePublicKey) and isinstance(kid, str):
            yield Key(ES256, key, kid)
