"""Owns the route that finds runs by words. It must not rank."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from backbone.search.hybrid import search_runs
from services.api.context import Context
from services.api.errors import MalformedRequest


class Hit(BaseModel):
    """A run that was found; `fields` are name, target, status, verdict and each label as label.KEY."""

    run_id: str
    score: float
    text: str
    fields: dict[str, str]


class Hits(BaseModel):
    """Best first."""

    hits: list[Hit]


def finding_router() -> APIRouter:
    """The search route."""
    router = APIRouter(tags=["search"])
    router.add_api_route("/v1/search", search, methods=["GET"])
    return router


async def search(
    context: Context,
    q: Annotated[str, Query(min_length=1, max_length=1000)],
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    name: str | None = None,
    target: str | None = None,
    status: str | None = None,
    verdict: str | None = None,
    label: Annotated[list[str] | None, Query(description="KEY=VALUE, also more than one.")] = None,
) -> Hits:
    """Finds runs by words of their summaries, nearest first."""
    given = {"name": name, "target": target, "status": status, "verdict": verdict}
    filters = {key: value for key, value in given.items() if value is not None} | _labels(label or [])
    found = await search_runs(context.platform.search, q, limit=limit, filters=filters)
    return Hits(hits=[Hit(run_id=hit.run_id, score=hit.score, text=hit.text, fields=dict(hit.fields)) for hit in found])


def _labels(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if not all(key and equals for key, equals, _ in pairs):
        raise MalformedRequest("label: write it as KEY=VALUE")
    return {f"label.{key}": value for key, _, value in pairs}
