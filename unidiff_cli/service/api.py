"""The routes below /v1: search, items and generation, and what watches the service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from unidiff_cli.errors import UsageError
from unidiff_cli.retrieval.query import weighted
from unidiff_cli.retrieval.retriever import PRODUCT
from unidiff_cli.service.answers import (
    GenerateRequest,
    Health,
    HitAnswer,
    ItemAnswer,
    JobAnswer,
    OfferAnswer,
    Problem,
    Retrieved,
)
from unidiff_cli.service.catalogue import Filter
from unidiff_cli.service.guard import Refused
from unidiff_cli.service.jobs import Full, Job, Wanted
from unidiff_cli.service.metrics import CONTENT_TYPE
from unidiff_cli.service.service import Service

# Seconds between two looks at a generation that is streamed, and between two lines of a stream.
LOOK, HEARTBEAT = 0.1, 15.0
# A day; what lies under an id changes only with the catalogue.
CACHED = {"cache-control": "private, max-age=86400"}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The request cannot be answered as it is."},
    404: {"model": Problem, "description": "There is no such thing."},
    413: {"model": Problem, "description": "The request is too large."},
    429: {"model": Problem, "description": "Too much is waiting; try again after `Retry-After`."},
    503: {"model": Problem, "description": "The project is not ready."},
}

router = APIRouter(responses=REFUSALS)

Texts = Annotated[list[str], Form(description='Also like this; "in red^0.5" weighs half.')]
Images = Annotated[list[UploadFile], File(description="Like these images.")]
Ids = Annotated[list[str], Form(description='Like these of the catalogue; "00042^0.5" weighs ½.')]


def service_of(request: Request) -> Service:
    """The service that an application serves."""
    return request.app.state.service


@router.post("/v1/retrieve", summary="The nearest products to texts and images")
async def retrieve(
    request: Request,
    text: Texts = [],  # noqa: B006
    image: Images = [],  # noqa: B006
    item: Ids = [],  # noqa: B006
    minus_text: Annotated[list[str], Form(description="Unlike these texts.")] = [],  # noqa: B006
    minus_image: Annotated[list[UploadFile], File(description="Unlike these.")] = [],  # noqa: B006
    minus_item: Annotated[list[str], Form(description="Unlike these of the catalogue.")] = [],  # noqa: B006
    image_weight: Annotated[
        list[float], Form(description="A weight for each image, in their order.")
    ] = [],  # noqa: B006
    where: Annotated[str, Form(description="gender = 'men' and price < 50")] = "",
    group_by: Annotated[str, Form(description="A column, or none.")] = PRODUCT,
    k: Annotated[int, Form(ge=1)] = 10,
    words: Annotated[bool, Form(description="Images with a rare word of the text first.")] = True,
    others: Annotated[bool, Form(description="Leave out the products of `item`.")] = False,
) -> Retrieved:
    """The query is the weighted sum of its parts; `score` is the cosine of a hit with it."""
    service = service_of(request)
    catalogue = service.catalogue
    if k > service.limits.hits:
        raise UsageError(f"A search may have {service.limits.hits} hits.", "Lower k.")
    if image_weight and len(image_weight) != len(image):
        raise UsageError(
            f"{len(image_weight)} weights were given for {len(image)} images.", "Give one for each."
        )
    if any(not 0 < weight <= 1000 for weight in image_weight):
        raise UsageError("A weight of an image is not between 0 and 1000.", "Use minus_image.")
    wanted, unwanted = [await each.read() for each in image], [await e.read() for e in minus_image]
    names = [weighted(name) for name in item]

    def search() -> Retrieved:
        parts = service.parts(
            catalogue,
            texts=[*map(weighted, text), *((t, -w) for t, w in map(weighted, minus_text))],
            images=[
                *zip(wanted, image_weight or [1.0] * len(wanted), strict=True),
                *((data, -1.0) for data in unwanted),
            ],
            like=[*names, *((name, -w) for name, w in map(weighted, minus_item))],
        )
        without = [name for name, _ in names] if others else ()
        filtered = Filter({}, where)
        found = catalogue.search(
            parts, k, filtered, group_by=group_by, without=without, words=words
        )
        return Retrieved(
            export=catalogue.export,
            notes=found.notes,
            offers=[OfferAnswer.of_offer(offer) for offer in found.offers],
            hits=[HitAnswer.of_hit(hit) for hit in found.hits],
        )

    return await service.turns(search)


@router.get("/v1/items/{id:path}/image", response_class=Response, summary="An image's pixels")
def image(request: Request, id: str) -> Response:
    data = service_of(request).image(id)
    kind = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
    kind = "image/webp" if data[8:12] == b"WEBP" else kind
    return Response(data, media_type=kind, headers=CACHED)


@router.get("/v1/items/{id:path}/thumbnail", response_class=Response, summary="A small JPEG")
def thumbnail(request: Request, id: str) -> Response:
    data = service_of(request).thumbnail(id)
    return Response(data, media_type="image/jpeg", headers=CACHED)


@router.get("/v1/items/{id:path}", summary="An image of the catalogue with its product's views")
def item(request: Request, id: str) -> ItemAnswer:
    service = service_of(request)
    return ItemAnswer.of_views(service.views(id, service.catalogue))


@router.post("/v1/generate", status_code=202, summary="Images of a prompt, in the background")
def generate(request: Request, wanted: GenerateRequest) -> JobAnswer:
    """Answers at once; `GET /v1/generate/{id}/events` tells how far it is."""
    service = service_of(request)
    if wanted.count > service.limits.images:
        raise UsageError(f"A generation may have {service.limits.images} images.", "Lower count.")
    try:
        job = service.jobs.add(Wanted(**wanted.model_dump()))
    except Full:
        raise Refused(429, "Too many generations are waiting. Try again.", retry=True) from None
    return JobAnswer.of_job(job)


@router.get("/v1/generate/{id}", summary="How far a generation is")
def generation(request: Request, id: str) -> JobAnswer:
    return JobAnswer.of_job(_job(request, id))


@router.delete("/v1/generate/{id}", summary="Cancels a generation")
def cancel(request: Request, id: str) -> JobAnswer:
    """It ends before its next denoising step; images that are finished stay."""
    job = _job(request, id)
    service_of(request).jobs.cancel(job)
    return JobAnswer.of_job(job)


@router.get("/v1/generate/{id}/events", response_class=StreamingResponse, summary="Its progress")
async def events(request: Request, id: str) -> StreamingResponse:
    """Server-sent events named by the state, each with the whole generation as its data."""
    job = _job(request, id)
    stream = _events(job, service_of(request))
    headers = {"cache-control": "no-store"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


@router.get("/v1/generate/{id}/images/{n}", response_class=Response, summary="A generated PNG")
def generated(request: Request, id: str, n: int) -> Response:
    job = _job(request, id)
    if not 0 <= n < len(job.images):
        raise Refused(404, "The generation has no such image.")
    return Response(job.images[n], media_type="image/png", headers=CACHED)


def _job(request: Request, name: str) -> Job:
    if (job := service_of(request).jobs.get(name)) is None:
        raise Refused(404, "There is no such generation, or it ended long ago.")
    return job


async def _events(job: Job, service: Service) -> AsyncIterator[bytes]:
    told, quiet = None, 0.0
    while True:
        now = (job.state, job.done, len(job.images))
        if now != told:
            told, quiet = now, 0.0
            data = JobAnswer.of_job(job).model_dump_json()
            yield format_sse_event(data_str=data, event=job.state)
        elif quiet >= HEARTBEAT:
            quiet = 0.0
            yield b": still here\n\n"
        # A step that takes long may not hear in time that the service is stopped.
        if job.ended or time.monotonic() > service.until + service.limits.parting / 2:
            return
        await asyncio.sleep(LOOK)
        quiet += LOOK


@router.get("/healthz", tags=["watching"], summary="Whether it answers, and from what")
async def health(request: Request) -> Health:
    service = service_of(request)
    status = "draining" if service.draining else "ok"
    catalogue, problem = service.catalogue, service.current.problem
    images = len(catalogue.items)
    return Health(status=status, export=catalogue.export, images=images, problem=problem)


@router.get("/metrics", tags=["watching"], response_class=Response, summary="For Prometheus")
async def metrics(request: Request) -> Response:
    text = await to_thread.run_sync(service_of(request).metrics.text)
    return Response(text, media_type=CONTENT_TYPE)
