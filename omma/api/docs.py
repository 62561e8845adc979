"""The interactive documentation, served whole from here: it works with no way to the internet."""

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from omma.api.access import public

# The package is used for the Swagger UI files in it; its application class is not.
SWAGGER_UI = ("fastapi_offline", "static")

router = APIRouter(include_in_schema=False)


@router.get("/docs", dependencies=[Depends(public)])
async def docs() -> HTMLResponse:
    """Swagger UI; its links are relative, so that a path prefix in front does no harm."""
    return get_swagger_ui_html(
        title="Omma",
        openapi_url="openapi.json",
        swagger_js_url="docs-assets/swagger-ui-bundle.js",
        swagger_css_url="docs-assets/swagger-ui.css",
        swagger_favicon_url="docs-assets/favicon.png",
    )


@router.get("/apidocs", dependencies=[Depends(public)])
async def apidocs() -> RedirectResponse:
    """The card service documents its routes here."""
    return RedirectResponse("docs", 302)


@router.get("/apidocs/", dependencies=[Depends(public)])
async def apidocs_folder() -> RedirectResponse:
    """The same as Flasgger spells it."""
    return RedirectResponse("../docs", 302)


def install(app: FastAPI) -> None:
    """Add the page and its files."""
    app.include_router(router)
    app.mount("/docs-assets", StaticFiles(packages=[SWAGGER_UI]))
