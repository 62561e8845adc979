"""What operations share on the wire, and how the registry lists them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from omma.domain.jobs import EntityKind


class Params(BaseModel):
    """The query of an operation's route, and the parameters of its jobs; for some, none."""

    model_config = ConfigDict(frozen=True)


class Answer(BaseModel):
    """What the route of every operation answers; each adds what it has found."""

    timings_ms: dict[str, float] = Field(default_factory=dict[str, float])


class OperationRow(BaseModel):
    """One thing that this server does with an image, or with an index."""

    name: str
    summary: str
    noun: str
    verb: str
    permission: str = Field(description="What a token must carry.")
    entity: EntityKind = Field(description="What a request is about.")
    action: str = Field(description="What kind of work is recorded.")
    route: str = Field(description="Answers at once, or with a job where there is no image.")
    job_type: str = Field(description="For `POST /job/{task_type}`.")
    handle_method: str = Field(description="Of the application's handle in Ray.")
    command: str
    params: dict[str, Any] = Field(description="JSON Schema.")


class OperationsAnswer(BaseModel):
    """All of them, by name."""

    operations: list[OperationRow]
