"""Everything that one may ask a server."""

from omma.client.cards import CardCalls
from omma.client.connection import BUSY, read, refused
from omma.client.images import ImageCalls
from omma.client.indexes import IndexCalls
from omma.client.jobs import JobCalls
from omma.wire.system import HealthAnswer


class Client(ImageCalls, JobCalls, CardCalls, IndexCalls):
    """Asks one server; many requests may be under way at once."""

    async def health(self) -> HealthAnswer:
        """The server's own word on how it is; also while it starts."""
        answer = await self._send("GET", "/health")
        if answer.is_success or answer.status_code == BUSY:
            return read(HealthAnswer, answer)
        raise refused(answer)
