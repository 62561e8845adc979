"""From settings to keys, with every mistake told before anything is served."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import httpx
from pydantic import SecretStr

from omma.domain.errors import CannotStart
from omma.ports.tokens import Blocklist
from omma.stores.tokens.keys import (
    ES256,
    HS256,
    FixedKeys,
    Key,
    parse_key_set,
    read_file,
    read_public_key,
    secret_key,
)
from omma.stores.tokens.published import PublishedKeys
from omma.stores.tokens.reading import KeySource, Rules, TokenReader
from omma.stores.tokens.verifier import KeyVerifier

SCHEMES = ("http", "https")


class Trust(Protocol):
    """The settings that say whose tokens are trusted."""

    @property
    def public_key_path(self) -> Path | None: ...
    @property
    def jwks(self) -> str: ...
    @property
    def secret(self) -> SecretStr: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def issuer(self) -> str: ...
    @property
    def audience(self) -> str: ...
    @property
    def leeway_s(self) -> int: ...


def open_keys(trust: Trust) -> tuple[KeySource, ...]:
    """Every key that is configured; reads files but asks nobody; raises `CannotStart`."""
    fixed: list[Key] = []
    if trust.public_key_path:
        fixed.append(read_public_key(trust.public_key_path))
    if secret := trust.secret.get_secret_value():
        fixed.append(secret_key(secret))
    is_published = _is_url(trust.jwks)
    if trust.jwks and not is_published:
        fixed += parse_key_set(read_file(Path(trust.jwks), "key set"), trust.jwks)
    kinds = {key.algorithm for key in fixed}
    if is_published:
        kinds.add(ES256)
    if trust.algorithm and trust.algorithm not in kinds:
        needs = {ES256: "a public key or a key set", HS256: "a shared secret"}[trust.algorithm]
        raise CannotStart(f"the token algorithm {trust.algorithm} needs {needs}; none is set")
    published = (PublishedKeys(trust.jwks),) if is_published else ()
    return (FixedKeys(fixed), *published)


def open_reader(trust: Trust, clock: Callable[[], float] = time.time) -> TokenReader:
    """What tells a true token from a false one; raises `CannotStart`."""
    rules = Rules(trust.issuer, trust.audience, trust.leeway_s)
    return TokenReader(open_keys(trust), rules, clock)


def open_verifier(trust: Trust, blocklist: Blocklist) -> KeyVerifier:
    """Everything of it from settings; raises `CannotStart`."""
    return KeyVerifier(open_reader(trust), blocklist)


def _is_url(text: str) -> bool:
    """Whether it names an issuer's URL rather than a file."""
    if "://" not in text:
        return False
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise CannotStart("the address of the key set is not a URL") from None
    if url.scheme not in SCHEMES or not url.host:
        raise CannotStart("expected an http or https URL of the key set, or a file")
    return True
