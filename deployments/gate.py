"""Who is let in, from the settings."""

from omma.domain.errors import CannotStart
from omma.domain.hosts import is_loopback
from omma.ports.tokens import Blocklist
from omma.services.tokens import Gatekeeper, RateLimits
from omma.settings import AuthSettings
from omma.stores.tokens.opening import open_keys, open_verifier
from omma.stores.tokens.recent import RecentBlocklist
from omma.stores.tokens.redis import RedisBlocklist

LOOPBACK = "127.0.0.1"
DEMO_WARNING = (
    "warning: requests are not authenticated: everybody on this machine is demo_user, with every"
    " right ({why}; docs/how-to/tokens.md says how to change it)"
)


def check_auth(auth: AuthSettings) -> None:
    """Raise `CannotStart` for a key or an address that could not be used; asks nobody."""
    open_keys(auth)
    if auth.redis_url:
        RedisBlocklist(auth.redis_url)


def refuse_strangers(host: str, auth: AuthSettings) -> None:
    """Raise `CannotStart` where everybody is let in, and others than this machine reach us."""
    if is_loopback(host):
        return
    if auth.disabled:
        raise CannotStart(
            f"will not listen on {host!r} with AUTH_DISABLED=true, which lets everybody in with"
            f" every right: unset it, or keep {LOOPBACK}"
        )
    if not auth.is_configured:
        raise CannotStart(
            f"will not listen on {host!r} without a key to verify tokens with: set PUBLIC_KEY_PATH,"
            " JWT_SECRET or OMMA_AUTH__JWKS (`omma tokens keygen FOLDER` makes a pair of keys),"
            f" or keep {LOOPBACK}"
        )


def demo_warning(auth: AuthSettings) -> str:
    """What to tell who starts a system that lets everybody in; empty when it does not."""
    if auth.disabled:
        return DEMO_WARNING.format(why="AUTH_DISABLED is true")
    return "" if auth.is_configured else DEMO_WARNING.format(why="no key is configured")


def open_gate(auth: AuthSettings, records: Blocklist) -> Gatekeeper:
    """The gatekeeper of one replica; ``records`` has the revocations unless Redis is configured."""
    limits = RateLimits(auth.requests_per_s, auth.burst)
    if auth.disabled or not auth.is_configured:
        return Gatekeeper(None, limits)
    blocklist = RedisBlocklist(auth.redis_url) if auth.redis_url else records
    return Gatekeeper(open_verifier(auth, RecentBlocklist(blocklist)), limits)
