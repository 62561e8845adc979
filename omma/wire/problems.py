"""RFC 9457 problem details, the body of every answer that is not a success."""

from pydantic import BaseModel, Field

PROBLEM_MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:omma:problem:"


class Resolution(BaseModel):
    """The documented detail of an answer about a token that was revoked."""

    error: str
    resolution: str

    def __str__(self) -> str:
        return f"{self.error}: {self.resolution}"


class Problem(BaseModel):
    """Why a request, or one image of it, has no answer."""

    type: str = Field(description=f"`{TYPE_PREFIX}` and the code.")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str | Resolution
    code: str = Field(description="Stable; what programs should look at.")
    request_id: str | None = Field(default=None, description="Find it in the logs.")
