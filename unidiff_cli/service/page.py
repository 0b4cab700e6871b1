"""The page: search, facets, products and generation, drawn here; its address holds all it shows."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from anyio import to_thread
from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel

from unidiff_cli.data.shards import Row
from unidiff_cli.errors import UnidiffError, UsageError
from unidiff_cli.retrieval.hits import Hit
from unidiff_cli.retrieval.query import weighted
from unidiff_cli.retrieval.synonyms import Offer
from unidiff_cli.service.answers import item_url
from unidiff_cli.service.api import CACHED, service_of
from unidiff_cli.service.catalogue import Catalogue, Filter, Found, chosen_of
from unidiff_cli.service.guard import COOKIE, Refused, digest_of
from unidiff_cli.service.images import keep_query
from unidiff_cli.service.service import Service

# Products that are shown at first and with each "more", and neighbours of one.
SHOWN, MOST_SHOWN, NEIGHBOURS = 24, 480, 12

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(Path(__file__).parent / "templates")
templates.env.globals["thumbnail"] = lambda name: item_url(name, "/thumbnail")
templates.env.globals["image"] = lambda name: item_url(name, "/image")
templates.env.globals["product"] = lambda name: f"/items/{quote(name, safe='')}"


class Asked(BaseModel):
    """What the page's address asks for: texts, images and items, wanted or not, and filters."""

    q: str = ""
    plus: list[str] = []
    minus: list[str] = []
    like: list[str] = []
    unlike: list[str] = []
    image: list[str] = []
    f: list[str] = []
    where: str = ""
    n: int = SHOWN

    @classmethod
    def of(cls, request: Request) -> Asked:
        given = request.query_params
        lists = {
            name: [word for word in dict.fromkeys(given.getlist(name)) if word.strip()]
            for name in ("plus", "minus", "like", "unlike", "image", "f")
        }
        number = given.get("n", "")
        shown = int(number) if number.isascii() and number.isdigit() and len(number) < 4 else SHOWN
        shown = min(max(shown, 1), MOST_SHOWN)
        q, where = given.get("q", "").strip(), given.get("where", "").strip()
        return cls(q=q, where=where, n=shown, **lists)

    @property
    def is_query(self) -> bool:
        """Whether something is searched for, and not only filtered."""
        return bool(self.q or self.plus or self.like or self.image)

    @property
    def filter(self) -> Filter:
        return Filter(chosen_of(self.f), self.where)

    def link(self, **changes: Any) -> str:
        """The address with something else asked for; its results begin anew."""
        values = {**self.model_dump(), "n": SHOWN, **changes}
        kept = {name: value for name, value in values.items() if value and (name, value) != DEFAULT}
        return f"/?{urlencode(kept, doseq=True)}" if kept else "/"

    def without(self, name: str, value: str) -> str:
        """The address without one of its values."""
        return self.link(**{name: [each for each in getattr(self, name) if each != value]})

    def also(self, name: str, value: str) -> str:
        """The address with one value more."""
        return self.link(**{name: [*getattr(self, name), value]})


DEFAULT = ("n", SHOWN)


@router.get("/", response_class=HTMLResponse)
async def search(request: Request) -> Response:
    """The products that are asked for, or the first of the catalogue."""
    service, asked = service_of(request), Asked.of(request)
    catalogue, problem, status = service.catalogue, "", 200
    found = Found([], [], [])
    rows: list[Row] = []
    facets: Any = []
    try:
        facets = await to_thread.run_sync(catalogue.facets, asked.filter)
        if asked.is_query:
            found = await service.turns(_search, service, catalogue, asked)
        elif asked.minus or asked.unlike:
            raise UsageError("The query says only what is unwanted.", "Add what to look for.")
        else:
            rows = await to_thread.run_sync(catalogue.first, asked.n, asked.filter)
    except UnidiffError as error:
        problem, status = str(error), 400
        facets = facets or await to_thread.run_sync(catalogue.facets, Filter(asked.filter.chosen))
    except Refused as refused:
        problem, status = refused.sentence, refused.status
    cards = [_card(hit.row, hit) for hit in found.hits] or [_card(row) for row in rows]
    values = {
        "asked": asked,
        "cards": cards,
        "facets": facets,
        "problem": problem,
        "notes": found.notes,
        "offers": [(each, _offered(catalogue, asked, each)) for each in found.offers],
        "more": len(cards) == asked.n < MOST_SHOWN,
        "captions": _captions(catalogue, [*asked.like, *asked.unlike]),
        "export": catalogue.export,
        "images": len(catalogue.items),
        "report": _report(service).is_file(),
    }
    return templates.TemplateResponse(request, "search.html", values, status)


def _search(service: Service, catalogue: Catalogue, asked: Asked) -> Found:
    wanted = [(asked.q, 1.0)] if asked.q else []
    parts = service.parts(
        catalogue,
        texts=[
            *wanted,
            *map(weighted, asked.plus),
            *((text, -weight) for text, weight in map(weighted, asked.minus)),
        ],
        images=[(service.kept_image(name), 1.0) for name in asked.image],
        like=[*((n, 1.0) for n in asked.like), *((n, -1.0) for n in asked.unlike)],
    )
    without = [*asked.like, *asked.unlike]
    return catalogue.search(parts, asked.n, asked.filter, without=without)


def _offered(catalogue: Catalogue, asked: Asked, offer: Offer) -> str:
    """The address where an offer is taken: as a choice, or else in the filter of one's own."""
    if choice := catalogue.choice(offer):
        return asked.also("f", choice)
    return asked.link(where=f"({asked.where}) and {offer.where}" if asked.where else offer.where)


def _card(row: Row, hit: Hit | None = None) -> dict[str, Any]:
    views = hit.views if hit else ()
    score = hit.score if hit else None
    return {"id": row.id, "caption": row.captions[0], "score": score, "views": len(views) + 1}


def _captions(catalogue: Catalogue, names: list[str]) -> dict[str, str]:
    """The captions of images by id, of those that are there."""
    numbers = {name: catalogue.items.number(name) for name in names}
    there = {name: number for name, number in numbers.items() if number is not None}
    rows = catalogue.items.rows(there.values())
    return {name: row.captions[0] for name, row in zip(there, rows, strict=True)}


@router.get("/items/{id:path}", response_class=HTMLResponse)
async def item(request: Request, id: str) -> Response:
    """A product: its images, what is known of it, and the products that are most like it."""
    service = service_of(request)
    catalogue = service.catalogue
    views = await to_thread.run_sync(service.views, id, catalogue)
    parts = service.parts(catalogue, like=[(id, 1.0)])
    found = await service.turns(
        catalogue.search, parts, NEIGHBOURS, Filter({}), without=[views[0].id]
    )
    values = {
        "row": views[0],
        "views": views,
        "cards": [_card(hit.row, hit) for hit in found.hits],
        "report": _report(service).is_file(),
    }
    return templates.TemplateResponse(request, "item.html", values)


@router.post("/queries", status_code=201)
async def keep(request: Request, image: Annotated[UploadFile, File()]) -> dict[str, str]:
    """Keeps a query image, so that the page's address can name it."""
    service, data = service_of(request), await image.read()
    # One at a time: a large image takes much memory while it is decoded.
    return {"image": await service.turns(keep_query, service.queries, data)}


@router.get("/queries/{name}")
async def kept(request: Request, name: str) -> Response:
    """A query image that was sent or generated."""
    try:
        data = service_of(request).kept_image(name)
    except UsageError as error:
        raise Refused(404, str(error)) from None
    kind = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
    return Response(data, media_type=kind, headers=CACHED)


@router.get("/report", response_class=HTMLResponse)
def report(request: Request) -> Response:
    """The newest evaluation report."""
    try:
        return HTMLResponse(_report(service_of(request)).read_bytes())
    except OSError:
        raise Refused(404, "There is no report yet. Run: unidiff evaluate") from None


def _report(service: Service) -> Path:
    return service.project.path("report", "report.html")


@router.get("/login", response_class=HTMLResponse)
def ask_token(request: Request) -> Response:
    return templates.TemplateResponse(request, "login.html", {"wrong": False})


@router.post("/login", response_class=HTMLResponse)
def take_token(request: Request, token: Annotated[str, Form()]) -> Response:
    """Remembers the token in this browser until it is closed."""
    digest = digest_of(token)
    if not hmac.compare_digest(digest, digest_of(request.app.state.token)):
        return templates.TemplateResponse(request, "login.html", {"wrong": True}, 401)
    response = RedirectResponse("/", 303)
    response.set_cookie(COOKIE, digest, httponly=True, samesite="strict")
    return response
