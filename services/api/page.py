"""Owns how the built page is served. It must not know what the page shows."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, PlainTextResponse, Response

from services.api.errors import NotFound

BUILD_HINT = (
    "The web page is not built. Build it with `pip install -e .` in the project's folder "
    "(or `npm ci && npm run build` in its dashboard folder); the API under /v1 works without it.\n"
)
A_YEAR_S = 31_536_000

FileName = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")]


def static_dir() -> Path:
    """Where the build leaves the page."""
    return Path(__file__).parent / "static"


def page_router(static: Path) -> APIRouter:
    """The page's routes; its own addresses all load the same document."""

    async def page() -> Response:
        index = static / "index.html"
        if not index.is_file():
            return PlainTextResponse(BUILD_HINT, status_code=503)
        return FileResponse(index, headers={"Cache-Control": "no-cache"})

    async def asset(name: FileName) -> Response:
        # the build puts a hash of the content into each name
        return _file(static / "assets" / name, f"public, max-age={A_YEAR_S}, immutable")

    async def icon() -> Response:
        return _file(static / "favicon.svg", "public, max-age=86400")

    router = APIRouter(include_in_schema=False)
    router.add_api_route("/", page, methods=["GET", "HEAD"])
    router.add_api_route("/runs/{run_id}", page, methods=["GET", "HEAD"])
    router.add_api_route("/assets/{name}", asset, methods=["GET", "HEAD"])
    router.add_api_route("/favicon.svg", icon, methods=["GET", "HEAD"])
    return router


def _file(path: Path, cache_control: str) -> Response:
    if not path.is_file():
        raise NotFound(f"the page has no file {path.name}: load it anew")
    return FileResponse(path, headers={"Cache-Control": cache_control})
