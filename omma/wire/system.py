"""Health and the service's own description."""

from typing import Literal

from pydantic import BaseModel, Field

from omma.domain.status import SystemState


class HealthAnswer(BaseModel):
    """Whether requests will be answered, and by what."""

    status: SystemState
    version: str
    model_loaded: bool
    gpu_available: bool
    deployments: dict[str, str]
    database: Literal["healthy", "unavailable"]
    worker: str = Field(
        description="The state of what runs jobs, within the ingress its own; else `unknown`."
    )
    queue_size: int | None = Field(description="Jobs that wait; null while the database is away.")
    suggested_polling_interval: int = Field(
        description="Seconds: 2 while jobs run, 10 while they wait, 30 else."
    )


class ServiceAnswer(BaseModel):
    """What listens here: the answer that the card service documents, and more."""

    status: Literal["ok"]
    service: Literal["inference-service"] = Field(description="What its clients look for.")
    docs_url: str
    name: Literal["omma"]
    version: str
    health_url: str
