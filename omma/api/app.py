"""The HTTP application: routers over services. Knows nothing of Ray."""

from dataclasses import replace

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from omma.api import (
    admin,
    batches,
    bounds,
    cards,
    docs,
    errors,
    events,
    faces,
    files,
    indexes,
    infer,
    jobs,
    mobile,
    queue,
    sockets,
    system,
)
from omma.api.admission import Admission
from omma.api.heads import Heads
from omma.api.operations import operation_routes
from omma.api.options import ApiOptions, Context, Services, UploadLimits
from omma.api.requests import REQUEST_ID_HEADER, RequestIds
from omma.api.safety import LastResort
from omma.domain.faces import Lane

__all__ = ["ApiOptions", "Services", "UploadLimits", "build_api"]

DESCRIPTION = "Visual recognition: send an image and get the answer at once, or as a durable job."


def build_api(services: Services, options: ApiOptions) -> FastAPI:
    """Build the application; cheap, so tests build one each."""
    app = FastAPI(
        title="Omma",
        version=options.version,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirected upload is an upload sent twice
    )
    context = app.state.context = _context(services, options)
    docs.install(app)
    recognising = (faces, infer, mobile, cards)
    working = (jobs, files, events, admin, indexes, queue, batches, sockets)
    for each in (system, *recognising, *working):
        app.include_router(each.router)
    app.include_router(operation_routes(services.operations))
    errors.install(app)
    bounds.install(app, context)
    _wrap(app, options)
    return app


def _context(services: Services, options: ApiOptions) -> Context:
    limits = {Lane.INTERACTIVE: options.max_interactive, Lane.JOB: options.max_jobs}
    # A batch that could never be admitted is too large, not badly timed.
    most = min(options.uploads.max_images, options.max_interactive)
    uploads = replace(options.uploads, max_images=most)
    admission = Admission(
        limits,
        options.retry_after_s,
        max_bytes=options.max_bytes_in_work,
        upload_share=options.upload_share,
        max_fetches=options.max_fetches,
    )
    return Context(services, replace(options, uploads=uploads), admission)


def _wrap(app: FastAPI, options: ApiOptions) -> None:
    """Innermost first: a fault's answer still gets its CORS headers and its id."""
    app.add_middleware(Heads)
    app.add_middleware(LastResort)
    if options.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=options.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=[REQUEST_ID_HEADER, "Retry-After"],
        )
    app.add_middleware(RequestIds, echo=options.echo_request_id)
