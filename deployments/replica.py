"""What the class of every deployment does before anything else."""

from deployments.logs import adopt_logs
from deployments.memory import return_memory_at_rest
from omma.settings import Settings


def enter_replica(settings: Settings) -> None:
    """Make this process one of omma's replicas; as often as classes live in it.

    Its records go where Serve's go, and what finds no room there ends nothing; memory that it no
    longer needs goes back to the system.
    """
    adopt_logs(settings.log)
    return_memory_at_rest()
