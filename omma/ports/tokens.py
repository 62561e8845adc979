"""What the API needs to know who asks."""

from datetime import datetime
from typing import Protocol

from omma.domain.tokens import Principal


class TokenVerifier(Protocol):
    """Tells whether a token was signed by somebody we trust."""

    async def verify(self, token: str) -> Principal:
        """Its bearer.

        Raises `TokenInvalid`, `TokenExpired` (401), `TokenRevoked`, `RefreshToken` (403), or
        `StoreUnavailable` where revocations or keys cannot be read: nobody is let in unseen.
        """
        ...


class Blocklist(Protocol):
    """The ids of tokens that were revoked before they expired."""

    async def revoke(self, token_id: str, expires_at: datetime) -> None:
        """Refuse it from now on; forgotten some time after it has expired anyway."""
        ...

    async def is_revoked(self, token_id: str) -> bool:
        """Whether it was revoked."""
        ...
