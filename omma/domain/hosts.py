"""Names and addresses of hosts."""

from collections.abc import Mapping
from ipaddress import ip_address

# This machine, and where a cloud tells it about itself.
NEAR = ("localhost", "127.0.0.1", "::1", "169.254.169.254", "metadata.google.internal")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name: nobody knows where it leads tomorrow
        return False


def unproxied(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep this machine and its cluster from the proxies that ``environ`` names.

    Libraries send even loopback there, and gRPC, which speaks within the cluster alone, all that is
    not excepted: the empty variable is gRPC's own word for no proxy.
    """
    given = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    names = [name for each in given.split(",") if (name := each.strip())]
    if "*" not in names:  # which stands alone
        names += [each for each in NEAR if each not in names]
    excepted = ",".join(names)
    return {"no_proxy": excepted, "NO_PROXY": excepted, "grpc_proxy": ""}
