"""Who asks, and what they may."""

from dataclasses import dataclass
from datetime import datetime

SUPPORT = "ai_inference_support"  # the jobs service's permission, of every operation so far
ADMIN = "is_admin"  # what administrators alone have: no list of permissions can hold it
LONGEST_TOKEN = 8192  # characters; no honest token comes near


@dataclass(frozen=True, slots=True)
class Principal:
    """The verified bearer of a token."""

    subject: str
    permissions: frozenset[str] = frozenset()
    is_admin: bool = False
    user_uid: str = ""  # of the tokens that name one
    is_refresh: bool = False
    token_id: str = ""  # jti; what revocation names
    expires_at: datetime | None = None

    def may(self, permission: str) -> bool:
        """Whether an operation with this permission is open to it; ``is_admin`` passes all."""
        return self.is_admin or (permission != ADMIN and permission in self.permissions)

    def may_see(self, owner: str) -> bool:
        """Whether what ``owner`` asked for is shown to it."""
        return self.is_admin or self.subject == owner


DEMO = Principal("demo_user", frozenset({SUPPORT}), is_admin=True)
