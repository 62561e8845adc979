"""What the health and metrics routes need from the running system."""

from typing import Protocol

from omma.domain.status import Health


class SystemStatus(Protocol):
    """The running system, seen from one of its replicas."""

    async def health(self) -> Health:
        """Answer quickly, from a state at most a few seconds old."""
        ...

    async def metrics(self) -> str:
        """This node's metrics in Prometheus text."""
        ...
