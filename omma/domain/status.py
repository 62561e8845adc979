"""How the system is doing, in words that an operator can act on."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class SystemState(StrEnum):
    """Whether requests will be answered."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"  # answers, but something is restarting or broken
    STARTING = "starting"  # not yet answering


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the whole and of each deployment, by name."""

    state: SystemState
    model_loaded: bool
    gpu_available: bool
    deployments: Mapping[str, str]
