"""Tells whose a token is, and that nobody has taken it back."""

from omma.domain.errors import RefreshToken, TokenRevoked
from omma.domain.tokens import Principal
from omma.ports.tokens import Blocklist
from omma.stores.tokens.reading import TokenReader


class KeyVerifier:
    """`TokenVerifier` over keys and a list of the revoked; a token without an id is on no list."""

    def __init__(self, reader: TokenReader, blocklist: Blocklist) -> None:
        self._reader = reader
        self._blocklist = blocklist

    async def verify(self, token: str) -> Principal:
        principal = await self._reader.read(token)
        if principal.token_id and await self._blocklist.is_revoked(principal.token_id):
            raise TokenRevoked("This token is invalid or has been revoked")
        if principal.is_refresh:
            raise RefreshToken("Please provide an access token")
        return principal
