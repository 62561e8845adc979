"""`omma tokens`: make keys, issue tokens, read them and revoke them.

Exit codes: 0 done; 1 it could not be done, and the message says why; 2 wrong usage.
"""

import asyncio
import json
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from omma.cli.configured import of_environment
from omma.cli.paths import shown
from omma.domain.errors import CannotStart, OmmaError, TokenInvalid
from omma.domain.tokens import SUPPORT
from omma.settings import AuthSettings, Settings
from omma.stores.records.database import Database, parse_url
from omma.stores.records.migrations import upgrade
from omma.stores.records.tokens import SqlBlocklist
from omma.stores.tokens.compact import read_unverified
from omma.stores.tokens.issuing import Grant, SigningKey, issue, make_keys, read_private_key
from omma.stores.tokens.keys import read_file, secret_key
from omma.stores.tokens.opening import open_reader
from omma.stores.tokens.redis import RedisBlocklist

FAULT = 1
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"([1-9][0-9]{0,4})([smhd])")
LONGEST_ID = 200

app = typer.Typer()


@app.command()
def keygen(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Where the two files go.")],
) -> None:
    """Make a pair of keys for ES256: the private one signs tokens, the public one verifies them."""
    private, public = folder / "private_key.pem", folder / "public_key.pem"
    with _faults_told():
        make_keys(private, public)
    typer.echo(f"{shown(private)} signs tokens: keep it from everybody else")
    name = shown(public)
    typer.echo(f"{name} verifies them: start omma with PUBLIC_KEY_PATH={name}")


@app.command("issue")
def issue_token(  # noqa: PLR0913  Typer reads the options off the signature
    *,
    subject: Annotated[str, typer.Option(help="Whom the token names.")],
    permission: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"What it opens, such as {SUPPORT}; may be repeated."),
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Every permission, every job.")] = False,
    expires: Annotated[
        str, typer.Option(metavar="TIME", help="How long it lives: 30m, 1h, 7d.")
    ] = "1h",
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The private key, for ES256.")
    ] = None,
    secret: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The shared secret, for HS256. [default: what JWT_SECRET holds]"
        ),
    ] = None,
) -> None:
    """Print a token, signed with a private key or with a shared secret."""
    if key and secret:
        raise typer.BadParameter("expected --key or --secret, not both")
    lifetime = _duration(expires)
    with _faults_told():
        auth = of_environment().auth
        permissions, lifetime_s = tuple(permission or ()), lifetime.total_seconds()
        grant = Grant(subject, permissions, admin, lifetime_s, auth.issuer, auth.audience)
        token = issue(grant, _signer(key, secret, auth))
    typer.echo(f"for {subject}, until {datetime.now(UTC) + lifetime:%Y-%m-%d %H:%M} UTC", err=True)
    typer.echo(token)


@app.command()
def revoke(
    token: Annotated[
        str,
        typer.Argument(metavar="TOKEN|ID", help="A token or its jti; - reads standard input."),
    ],
    *,
    remember: Annotated[
        str,
        typer.Option(metavar="TIME", help="Of an id alone: the longest that its token may live."),
    ] = "365d",
) -> None:
    """Refuse a token from now on: written where the server looks, in the database or in Redis."""
    text, longest = _text(token), _duration(remember)
    with _faults_told():
        token_id, ends = text, datetime.now(UTC) + longest
        if text.count(".") == 2:  # noqa: PLR2004  the three parts of a token
            claims = read_unverified(text)
            token_id, ends = claims.jti or "", datetime.fromtimestamp(claims.exp, UTC)
        if not token_id or len(token_id) > LONGEST_ID:
            raise TokenInvalid("it has no id (jti) to revoke it by: change the key instead")
        place = asyncio.run(_revoke(of_environment(), token_id, ends))
    typer.echo(f"revoked {token_id} in {place}")


@app.command()
def inspect(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="A token; - reads standard input.")],
) -> None:
    """Print what a token says, and whether the configured keys trust it; no list is asked."""
    text = _text(token)
    with _faults_told():
        claims = read_unverified(text)
        told: dict[str, Any] = claims.model_dump(exclude_unset=True)
        told["expires_at"] = datetime.fromtimestamp(claims.exp, UTC).isoformat()
        fault = asyncio.run(_fault(of_environment().auth, text))
    typer.echo(json.dumps({**told, "is_trusted": not fault, "fault": fault}, indent=2))


def _text(argument: str) -> str:
    return (sys.stdin.read() if argument == "-" else argument).strip()


def _duration(text: str) -> timedelta:
    if not (found := DURATION.fullmatch(text)):
        raise typer.BadParameter(f"expected a time such as 30m, 12h or 7d, got {text!r}")
    return timedelta(seconds=int(found[1]) * UNITS_S[found[2]])


def _signer(key: Path | None, secret: Path | None, auth: AuthSettings) -> SigningKey:
    if key:
        return read_private_key(key)
    shared = auth.secret.get_secret_value()
    if secret:
        shared = read_file(secret, "shared secret").decode("utf-8", "surrogateescape").strip()
    if not shared:
        raise CannotStart(
            "nothing to sign with: name a private key with --key"
            " (`omma tokens keygen FOLDER` makes one),"
            " or a shared secret with --secret or JWT_SECRET"
        )
    material = secret_key(shared).material
    return material if isinstance(material, bytes) else b""


async def _revoke(settings: Settings, token_id: str, ends: datetime) -> str:
    """Write it where the server looks; answer where that is."""
    if settings.auth.redis_url:
        redis = RedisBlocklist(settings.auth.redis_url)
        try:
            await redis.revoke(token_id, ends)
        finally:
            await redis.close()
        return "Redis"
    database = Database(settings.database_url, timeout_s=settings.database.timeout_s)
    try:
        await upgrade(database)  # a server may never have started here
        await SqlBlocklist(database).revoke(token_id, ends)
    finally:
        await database.close()
    return str(parse_url(settings.database_url))  # without its password


async def _fault(auth: AuthSettings, token: str) -> str:
    """Why the configured keys do not trust it; empty when they do."""
    if not auth.is_configured:
        return "no key is configured to verify it with"
    try:
        await open_reader(auth).read(token)
    except CannotStart:
        raise
    except OmmaError as error:
        return str(error)
    return ""


@contextmanager
def _faults_told() -> Generator[None]:
    try:
        yield
    except FileExistsError as error:
        _fail(f"{error} is there already, and tokens may depend on it: name another folder")
    except OSError as error:
        _fail(f"{error.filename or 'input'}: {error.strerror}")
    except OmmaError as error:
        _fail(str(error))


def _fail(message: str) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(FAULT)
