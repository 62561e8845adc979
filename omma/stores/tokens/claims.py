"""What a token says, taken at its word only where every claim has the documented type."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from omma.domain.errors import TokenInvalid
from omma.domain.tokens import Principal
from omma.stores.tokens.keys import HS256

LAST_S = datetime(9999, 1, 1, tzinfo=UTC).timestamp()  # where datetime ends


def _printable(text: str) -> str:
    """Names go into tables and logs, where a zero byte or half a surrogate does harm."""
    if not text.isprintable():
        raise ValueError("expected printable characters")
    return text


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Moment = Annotated[float, Field(ge=0, le=LAST_S, allow_inf_nan=False)]  # seconds since 1970


class Part(BaseModel):
    """JSON of a token, by its types."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class User(Part):
    """As the classification service's tokens name their bearer."""

    user_uid: Name


class Claims(Part):
    """The signed part, of both kinds of tokens."""

    sub: Name | None = None
    user: User | None = None
    permissions: tuple[Name, ...] = ()
    is_admin: bool = False
    refresh: bool = False
    jti: Name | None = None
    exp: Moment
    nbf: Moment = 0.0
    iat: Moment = 0.0
    iss: str | None = None
    aud: str | list[str] | None = None

    def principal(self, algorithm: str) -> Principal:
        """Whom they name; raises `TokenInvalid` where they name nobody."""
        user_uid = self.user.user_uid if self.user else ""
        subject = self.sub or user_uid
        if not subject:
            raise TokenInvalid("the token names nobody: expected the claim sub or user.user_uid")
        if algorithm == HS256 and not self.jti:
            raise TokenInvalid("expected the claim jti: without it the token cannot be revoked")
        return Principal(
            subject,
            frozenset(self.permissions),
            is_admin=self.is_admin,
            user_uid=user_uid,
            is_refresh=self.refresh,
            token_id=self.jti or "",
            expires_at=datetime.fromtimestamp(self.exp, UTC),
        )


def parse_claims(payload: bytes) -> Claims:
    """Read the second part of a token; raises `TokenInvalid`."""
    try:
        return Claims.model_validate_json(payload)
    except ValidationError as error:
        raise TokenInvalid(f"unexpected claims in the token: {_gist(error)}") from None


def _gist(error: ValidationError) -> str:
    """The first fault, without the value: that is the token's business."""
    fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ")
