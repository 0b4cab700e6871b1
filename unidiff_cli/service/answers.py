"""What the service answers, as its OpenAPI document describes it."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from unidiff_cli.config.limits import MAX_SAMPLER_STEPS, MAX_SEED
from unidiff_cli.data.shards import Row
from unidiff_cli.retrieval.hits import Hit
from unidiff_cli.retrieval.synonyms import Offer
from unidiff_cli.service.jobs import Job


def item_url(name: str, part: str = "") -> str:
    """The address of an image of the catalogue, or of a part of it."""
    return f"/v1/items/{quote(name, safe='')}{part}"


class Problem(BaseModel):
    """Why there is no answer: what is wrong, and what to do."""

    detail: str


class ImageLinks(BaseModel):
    """An image of the catalogue by its id, with the addresses of its pixels."""

    id: str
    image: str
    thumbnail: str

    @staticmethod
    def of(name: str) -> dict[str, str]:
        return {
            "id": name,
            "image": item_url(name, "/image"),
            "thumbnail": item_url(name, "/thumbnail"),
        }


class ViewAnswer(ImageLinks):
    """Another image of a hit's product."""

    score: float


class HitAnswer(ImageLinks):
    """One hit; `score` is the cosine with the query, `views` other images of its product."""

    rank: int
    score: float
    product: str
    caption: str
    attributes: dict[str, Any]
    views: list[ViewAnswer]

    @classmethod
    def of_hit(cls, hit: Hit) -> HitAnswer:
        return cls(
            **ImageLinks.of(hit.id),
            rank=hit.rank,
            score=hit.score,
            product=hit.row.group,
            caption=hit.caption,
            attributes=hit.attributes,
            views=[ViewAnswer(**ImageLinks.of(v.id), score=v.score) for v in hit.views],
        )


class OfferAnswer(BaseModel):
    """A filter for words of the query that stand for a value in this catalogue's captions."""

    words: list[str]
    where: str
    reason: str

    @classmethod
    def of_offer(cls, offer: Offer) -> OfferAnswer:
        return cls(words=list(offer.words), where=offer.where, reason=offer.reason)


class Retrieved(BaseModel):
    """The hits of a search, best first, and the export that found them.

    `notes` say what decides them, or why they may be no good match. `offers` are filters that the
    query did not ask for.
    """

    export: str
    notes: list[str]
    offers: list[OfferAnswer]
    hits: list[HitAnswer]


class ItemAnswer(ImageLinks):
    """An image of the catalogue; `views` are the other images of its product."""

    product: str
    split: str
    captions: list[str]
    attributes: dict[str, Any]
    width: int
    height: int
    views: list[ImageLinks]

    @classmethod
    def of_views(cls, views: list[Row]) -> ItemAnswer:
        """Of the first of a product's images."""
        row, *others = views
        return cls(
            **ImageLinks.of(row.id),
            product=row.group,
            split=row.split,
            captions=list(row.captions),
            attributes=row.attributes,
            width=row.width,
            height=row.height,
            views=[ImageLinks(**ImageLinks.of(other.id)) for other in others],
        )


class GenerateRequest(BaseModel):
    """What is to be generated; image i has seed + i.

    Guidance, steps and size (`512x768`) are the export's own where they are not given.
    """

    model_config = ConfigDict(extra="forbid")

    prompt: Annotated[str, Field(min_length=1, max_length=10_000, pattern=r"\S")]
    count: Annotated[int, Field(ge=1)] = 4
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    negative: Annotated[str, Field(max_length=10_000)] = ""
    steps: Annotated[int, Field(ge=1, le=MAX_SAMPLER_STEPS)] | None = None
    guidance: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] | None = None
    size: Annotated[str, Field(pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}$")] | None = None


class GeneratedAnswer(BaseModel):
    """A generated image, and everything it depends on."""

    image: str
    record: dict[str, Any]


class JobAnswer(BaseModel):
    """A generation: waiting, running, done, cancelled or failed."""

    id: str
    state: str
    done: int
    steps: int
    images: list[GeneratedAnswer]
    error: str
    seconds: float

    @classmethod
    def of_job(cls, job: Job) -> JobAnswer:
        images = [
            GeneratedAnswer(image=f"/v1/generate/{job.id}/images/{n}", record=record)
            for n, record in enumerate(job.records[: len(job.images)])
        ]
        return cls(
            id=job.id,
            state=job.state,
            done=job.done,
            steps=job.steps,
            images=images,
            error=job.error,
            seconds=job.seconds,
        )


class Health(BaseModel):
    """Whether it answers, from what, and why a newer index is not in force."""

    status: str
    export: str
    images: int
    problem: str
