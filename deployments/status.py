"""How the cluster is doing, as the health and metrics routes tell it."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Generic, TypeVar

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve._private.common import ReplicaState  # schema.py names it in its own types
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatusOverview

from deployments.metrics import node_metrics
from omma.domain.errors import NotReady
from omma.domain.status import Health, SystemState

APPLICATION = "omma"
FRESH_S = 1.0  # health checks of many balancers cost one question a second
PATIENCE_S = 2.0  # Serve itself waits for its controller without end
UNKNOWN = Health(SystemState.DEGRADED, model_loaded=False, gpu_available=False, deployments={})
NO_ANSWER = (OSError, RayError, RayServeException, ValueError)  # OSError: timeouts among them

Answer = TypeVar("Answer")


class ServeStatus:
    """`SystemStatus` over Serve's controller."""

    def __init__(
        self,
        ask: Callable[[], Health] | None = None,
        scrape: Callable[[], str] = node_metrics,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._recent_health = _Recent(ask or _ask, patience_s)
        self._recent_metrics = _Recent(scrape, patience_s)
        self._health = UNKNOWN

    async def health(self) -> Health:
        """The state of every deployment, at most `FRESH_S` old; the last known when none comes."""
        try:
            self._health = await self._recent_health()
        except NO_ANSWER:
            return replace(self._health, state=SystemState.DEGRADED)
        return self._health

    async def metrics(self) -> str:
        """This node's metrics in Prometheus text, at most `FRESH_S` old."""
        try:
            return await self._recent_metrics()
        except NO_ANSWER:
            raise NotReady("the metrics of this node do not answer", 5) from None


class _Recent(Generic[Answer]):
    """A blocking question, asked by one thread of its own; all who wait share the answer."""

    def __init__(self, ask: Callable[[], Answer], patience_s: float) -> None:
        self._ask = ask
        self._patience_s = patience_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="status")
        self._answer: asyncio.Future[Answer] | None = None
        self._asked_at = 0.0

    async def __call__(self) -> Answer:
        is_old = time.monotonic() - self._asked_at > FRESH_S
        if self._answer is None or (self._answer.done() and is_old):
            self._answer = asyncio.get_running_loop().run_in_executor(self._thread, self._ask)
            self._asked_at = time.monotonic()
        return await asyncio.wait_for(asyncio.shield(self._answer), self._patience_s)


def _ask() -> Health:
    application = serve.status().applications.get(APPLICATION)
    running = _running(application) if application else {}
    return Health(
        state=_state(application, running),
        model_loaded=bool(running) and all(running.values()),
        gpu_available=ray.cluster_resources().get("GPU", 0) > 0,
        deployments={name: status.status for name, status in application.deployments.items()}
        if application
        else {},
    )


def _running(application: ApplicationStatusOverview) -> dict[str, bool]:
    return {
        name: status.replica_states.get(ReplicaState.RUNNING, 0) > 0
        for name, status in application.deployments.items()
    }


def _state(application: ApplicationStatusOverview | None, running: dict[str, bool]) -> SystemState:
    if application is None or not all(running.values()):
        return SystemState.STARTING
    if application.status == "RUNNING":
        return SystemState.HEALTHY
    return SystemState.DEGRADED
