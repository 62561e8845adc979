"""Health, metrics and the front page."""

import asyncio

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse

from omma.api.access import public, require
from omma.api.answers import as_json
from omma.api.describe import problems
from omma.api.job_answers import written
from omma.api.options import ContextOf
from omma.domain.status import Health, SystemState
from omma.services.pulse import Beat
from omma.wire.system import HealthAnswer, ServiceAnswer

METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STARTING_RETRY_AFTER_S = 2
RUNNING_S, WAITING_S, IDLE_S = 2, 10, 30  # between two looks at a queue, as the gateway says
WORKERS = ("JobRunner", "Ingress")  # the second where jobs run within it

router = APIRouter(tags=["system"])


@router.get(
    "/health",
    response_model=HealthAnswer,
    responses={503: {"model": HealthAnswer, "description": "Starting: try again."}},
    dependencies=[Depends(public)],
)
async def health(context: ContextOf) -> Response:
    """Tell whether requests will be answered."""
    services = context.services
    found, beat = await asyncio.gather(services.status.health(), services.jobs.pulse.beat())
    is_whole = beat.is_reachable or found.state is SystemState.STARTING
    answer = HealthAnswer(
        status=found.state if is_whole else SystemState.DEGRADED,
        version=context.options.version,
        model_loaded=found.model_loaded,
        gpu_available=found.gpu_available,
        deployments=dict(found.deployments),
        database="healthy" if beat.is_reachable else "unavailable",
        worker=_worker(found),
        queue_size=beat.queued,
        suggested_polling_interval=_interval_s(beat),
    )
    if found.state is not SystemState.STARTING:
        return written(answer)
    response = written(answer, 503)
    response.headers["retry-after"] = str(STARTING_RETRY_AFTER_S)
    return response


def _worker(found: Health) -> str:
    """The state of the deployment that runs jobs."""
    states = (found.deployments[name] for name in WORKERS if name in found.deployments)
    return next(states, "unknown").lower()


def _interval_s(beat: Beat) -> int:
    if beat.is_running:
        return RUNNING_S
    return WAITING_S if beat.queued else IDLE_S


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses=problems(),
    dependencies=[Depends(require())],
)
async def metrics(context: ContextOf) -> Response:
    """This node's metrics in Prometheus text."""
    return Response(await context.services.status.metrics(), media_type=METRICS_MEDIA_TYPE)


@router.get("/", response_model=ServiceAnswer, dependencies=[Depends(public)])
async def front_page(request: Request, context: ContextOf) -> Response:
    """Say what listens here; browsers are sent to the documentation."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("docs", 302)
    return as_json(
        ServiceAnswer(
            status="ok",
            service="inference-service",
            docs_url="/apidocs",
            name="omma",
            version=context.options.version,
            health_url="/health",
        )
    )
