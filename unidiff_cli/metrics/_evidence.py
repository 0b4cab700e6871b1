"""What metrics look at: the held-out rows, the neutral probe, and what one model makes of both, each made once.

What a model makes is kept in the project's `cache/` by the model's weights and everything else it depends on, so a second
evaluation, another metric or another export against the same base makes nothing again.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from .. import __version__
from ..errors import UsageError
from ..project import digest
from ..recipe import Evaluate, Generate
from . import Progress, same, scorer

if TYPE_CHECKING:
    from ..bases.stable_diffusion import StableDiffusion as Base
    from ..shards import Row, Shards
    from .recall import Ranked

SCHEMA = 2  # of what is kept: raised when a version makes anything kept otherwise than it did
CHUNK = 64  # drawn pictures kept at a time
MOST_REAL = 10_000  # real pictures compared with; more would not change a figure we print
TOP = 10  # answers kept of each query
PROBE_EACH, PROBE_SIDE = 10, 128  # drawings of each everyday object, px
PROBE_STEPS = (50, 200, 400, 600, 800, 950)  # of 1,000: where the denoiser is asked
MOST_DENOISED, DENOISE_STRATA = 512, 4  # held-out pictures the denoiser is asked about, timesteps of each
GRID = (6, 4)  # prompts × seeds drawn for prompt sensitivity


@dataclass(frozen=True)
class Subject:
    """A model to measure: a base, an export, or an export blended with its base."""

    name: str
    source: Any  # what `bases.load` takes
    base: Any  # the base it was trained from
    image_size: int
    stamp: str  # a hash that changes with its weights, and with a blend's base
    alpha: float = 1.0  # the export's share; WiSE-FT, arXiv 2109.01903
    by: Literal["clip", "diffdis"] = "clip"  # what looks at pictures

    def load(self) -> Base:
        """On the GPU where there is one, else on the CPU. Raises UsageError, EnvironmentProblem."""
        import torch

        from .. import bases

        model: Base = bases.load(self.source, self.image_size).eval()
        if self.alpha < 1:
            before = bases.load(self.base, self.image_size)
            before.dual_stream = model.dual_stream  # the base has none to blend it with
            bases.blend(before.state_dict(), model.state_dict(), self.alpha)
            model = before.eval()
        return model.to("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class Kept:
    """Arrays in a folder of the cache; without a folder nothing is kept. A file that is not whole is made again."""

    folder: Path | None

    def array(self, name: str, depends: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of that name made from `depends` (anything JSON can hold), from the folder or anew."""
        if self.folder is None:
            return make()
        path = self._path(name, depends)
        found = _whole(path)
        if found is None:
            made = make()
            return self._put(path, made.dtype, made.shape, [made])
        return found

    def rows(self, name: str, depends: Any, count: int, make: Callable[[int, int], np.ndarray]) -> np.ndarray:
        """The same of `make(start, stop)` for `count` rows, CHUNK at a time: no more are in memory, or lost by a kill."""
        starts = range(0, count, CHUNK)
        if self.folder is None:
            return np.concatenate([make(start, min(start + CHUNK, count)) for start in starts])
        path = self._path(name, depends)
        found = _whole(path)
        if found is None:

            def part(start: int) -> np.ndarray:
                return self.array(f"{name}-{start}", depends, partial(make, start, min(start + CHUNK, count)))

            first = part(0)
            found = self._put(path, first.dtype, (count, *first.shape[1:]), map(part, starts))
            for start in starts:
                self._path(f"{name}-{start}", depends).unlink(missing_ok=True)
        return found

    def _path(self, name: str, depends: Any) -> Path:
        assert self.folder is not None
        return self.folder / f"{name}-{digest([SCHEMA, __version__, depends])}.npy"

    def _put(
        self, path: Path, dtype: np.dtype, shape: tuple[int, ...], parts: Iterable[np.ndarray]
    ) -> np.ndarray:
        """Writes an array's rows, part after part, and gives it back, mapped."""
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{os.getpid()}-{path.name}")
        try:
            with open(beside, "wb") as stream:
                np.lib.format.write_array_header_1_0(stream, header)
                for part in parts:
                    np.ascontiguousarray(part).tofile(stream)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _whole(path: Path) -> np.ndarray | None:
    """The array in a file, mapped; None where there is none, or not all of it."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


@dataclass(frozen=True)
class Probe:
    """Pictures (RGB) of known classes, and which each shows: what a model should know whatever it was tuned on."""

    pictures: list[Image.Image]
    labels: np.ndarray  # (N,) int
    classes: list[str]
    prompts: list[str]  # one for each class

    @classmethod
    def drawn(cls, seed: int = 4_000_000) -> Probe:
        """Ten drawings of each everyday object, which no shop of clothes shows; seeds that nano was not trained on."""
        from ..sample_catalog import OBJECTS, draw, random_object

        classes = list(OBJECTS)
        looks = [
            random_object(random.Random(seed + PROBE_EACH * c + i), type=name)
            for c, name in enumerate(classes)
            for i in range(PROBE_EACH)
        ]
        labels = np.repeat(np.arange(len(classes)), PROBE_EACH)
        prompts = [f"a photo of {'an' if name[0] in 'aeiou' else 'a'} {name}" for name in classes]
        return cls([draw(look, PROBE_SIDE) for look in looks], labels, classes, prompts)

    @classmethod
    @cache
    def photographed(cls, folder: str) -> Probe:
        """The photos of a catalogue with a `class` column, each class asked for by the caption of its first photo.

        Where there is a split column only its test photos count. Raises UsageError for a catalogue without classes.
        """
        from .. import readers
        from ..recipe import Prepare

        path = Path(folder).expanduser()
        if not path.exists():
            raise UsageError(
                f"There is no evaluate.probe {folder}.", "Name a folder with a table, or leave it out."
            )
        rows = [item for item in readers.choose(path, Prepare()) if isinstance(item, readers.Sample)]
        tested = [row for row in rows if row.attributes.get("class") and row.split in (None, "test")]
        prompts = {str(row.attributes["class"]): row.captions[0] for row in reversed(tested)}
        if len(prompts) < 2:
            raise UsageError(
                f"evaluate.probe {folder} has test photos of {len(prompts)} classes; it needs two or more.",
                "Give its table the columns image, class and caption.",
            )
        classes = sorted(prompts)
        pictures = [
            Image.open(io.BytesIO(row.image) if isinstance(row.image, bytes) else row.image).convert("RGB")
            for row in tested
        ]
        labels = np.array([classes.index(str(row.attributes["class"])) for row in tested])
        return cls(pictures, labels, classes, [prompts[name] for name in classes])

    @cached_property
    def stamp(self) -> str:
        """A hash of the pictures."""
        found = hashlib.sha256()
        for picture in self.pictures:
            found.update(f"{picture.size}".encode() + picture.tobytes())
        return found.hexdigest()[:16]


class HeldOut:
    """What every model is measured on: rows it did not train on, the prompts, the real pictures and the probe."""

    def __init__(
        self,
        shards: Shards,
        rows: list[Row],
        evaluate: Evaluate,
        generate: Generate,
        cache: Path | None = None,
        stamp: str = "",
        fold: int = 0,
    ) -> None:
        """`stamp` is the shards' receipt hash, which decides what `cache` may give back; each `fold` is resampled by
        numbers of its own."""
        self.shards, self.rows, self.evaluate, self.generate = shards, rows, evaluate, generate
        self.cache, self.stamp, self.fold = cache, stamp, fold
        self.order = np.random.default_rng(evaluate.seed).permutation(len(rows))

    # ------------------------------------------------------------ captions

    @cached_property
    def _captions(self) -> dict[str, str]:
        """What equal captions have in common -> the spelling found first."""
        found: dict[str, str] = {}
        for row in self.rows:
            for caption in row.captions:
                found.setdefault(same(caption), caption)
        return found

    @property
    def captions(self) -> list[str]:
        """The distinct captions, C of them."""
        return list(self._captions.values())

    @cached_property
    def pairs(self) -> np.ndarray:
        """(caption, row) of each caption a row has, int (M, 2), distinct, by row."""
        place = {text: c for c, text in enumerate(self._captions)}
        each = ([place[same(c)] for c in row.captions] for row in self.rows)
        return np.array([(c, n) for n, own in enumerate(each) for c in dict.fromkeys(own)], np.int64).reshape(
            -1, 2
        )

    @cached_property
    def own(self) -> np.ndarray:
        """Each row's first caption, (N,)."""
        return self.pairs[np.unique(self.pairs[:, 1], return_index=True)[1], 0]

    @cached_property
    def groups(self) -> list[str]:
        """Each row's product or duplicate group, which succeed and fail together."""
        return [row.group for row in self.rows]

    @cached_property
    def caption_groups(self) -> list[str]:
        """The group of the first row that has each caption, (C,)."""
        first = np.unique(self.pairs[:, 0], return_index=True)[1]
        return [self.groups[self.pairs[m, 1]] for m in first]

    # ------------------------------------------------------------ what is drawn

    @property
    def drawn_rows(self) -> list[Row]:
        """The row whose caption is prompt i: the split in a seeded order, round and round."""
        return [self.rows[self.order[i % len(self.rows)]] for i in range(self.evaluate.images)]

    @property
    def prompts(self) -> list[str]:
        """A caption a picture; each lap over the split takes the rows' next captions."""
        laps = (i // len(self.rows) for i in range(self.evaluate.images))
        return [row.captions[lap % len(row.captions)] for row, lap in zip(self.drawn_rows, laps, strict=True)]

    @property
    def seeds(self) -> list[int]:
        return [self.evaluate.seed + i for i in range(self.evaluate.images)]

    @cached_property
    def prompt_embeds(self) -> np.ndarray:
        """Unit embeddings of the prompts by the scorer, (n, D)."""
        return scorer().embed_captions(self.prompts)

    # ------------------------------------------------------------ who looks at pictures

    @cached_property
    def extractor(self) -> Any:
        """Whose features FID, KID and precision and recall are taken over: Inception where it is given, else the scorer."""
        if self.evaluate.inception:
            from ._inception import Inception

            return Inception.read(Path(self.evaluate.inception))
        return scorer()

    def seen(self, pictures: Iterable[Any], depends: Any, kept: Kept) -> tuple[np.ndarray, np.ndarray]:
        """Extractor features (n, d) and scorer embeddings (n, D) of RGB pictures."""
        eye, judge, size = self.extractor, scorer(), self.evaluate.batch_size
        made: dict[str, np.ndarray] = {}

        def make(what: str) -> np.ndarray:
            if not made:
                left = iter(pictures)
                parts: list[tuple[np.ndarray, np.ndarray]] = []
                while some := list(islice(left, size)):
                    features, embeds = judge.embed_pictures(some)
                    parts.append((features if eye is judge else eye.features_of(some), embeds))
                made["features"], made["embeds"] = (np.concatenate(each) for each in zip(*parts, strict=True))
            return made[what]

        return (
            kept.array("features", [depends, eye.fingerprint], lambda: make("features")),
            kept.array("embeds", [depends, judge.fingerprint], lambda: make("embeds")),
        )

    # ------------------------------------------------------------ real pictures

    @cached_property
    def real_rows(self) -> list[Row]:
        """The rows the drawn pictures are compared with; real_rows[i % N] gave prompt i."""
        most = max(MOST_REAL, self.evaluate.images)
        return [self.rows[n] for n in self.order[:most]]

    @property
    def picture_groups(self) -> tuple[list[str], list[str]]:
        """The groups of the real rows and of the rows whose captions are drawn, for `both_sides`."""
        return [row.group for row in self.real_rows], [row.group for row in self.drawn_rows]

    @property
    def products_drawn(self) -> int:
        """How many groups the drawn pictures belong to."""
        return len(set(self.picture_groups[1]))

    @cached_property
    def trained(self) -> list[Row]:
        """Every row of the training split."""
        return self.shards.rows("train")

    @cached_property
    def training_rows(self) -> list[Row]:
        """What near copies are looked for in, at most MOST_REAL of them."""
        order = np.random.default_rng(self.evaluate.seed).permutation(len(self.trained))[:MOST_REAL]
        return [self.trained[n] for n in order]

    def looked_at(
        self, rows: list[Row], side: int, told: Callable[[int, int], None] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features and embeddings of rows' pictures, cropped as a base of that side crops its own."""
        from ..batches import picture
        from ..clip import pixels, square

        def pictures() -> Iterable[np.ndarray]:
            size, crop = self.evaluate.batch_size, square(side)
            for start in range(0, len(rows), size):
                some = [picture(self.shards, row) for row in rows[start : start + size]]
                yield from pixels(crop, some).permute(0, 2, 3, 1).numpy()  # (S, S, 3) each
                if told:
                    told(min(start + size, len(rows)), len(rows))

        kept = Kept(self.cache / "real" if self.cache else None)
        return self.seen(pictures(), [self.stamp, [row.id for row in rows], side], kept)

    @cached_property
    def probe(self) -> Probe:
        return Probe.drawn()

    @property
    def photos(self) -> Probe | None:
        """The photos of known classes that `evaluate.probe` names."""
        return Probe.photographed(self.evaluate.probe) if self.evaluate.probe else None

    @cached_property
    def denoised_rows(self) -> list[Row]:
        """The rows whose pictures the denoiser is asked about, at most MOST_DENOISED in the seeded order."""
        return [self.rows[n] for n in self.order[:MOST_DENOISED]]


class Evidence:
    """Everything metrics may look at for one model, each computed once, on first use.

    `before` is the evidence of its base; a base's own is None. Call `release` to let the weights go and keep the rest.
    """

    def __init__(
        self,
        subject: Subject,
        held: HeldOut,
        before: Evidence | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        self.subject, self.held, self.before, self.on_progress = subject, held, before, on_progress
        self.kept = Kept(held.cache / subject.stamp if held.cache else None)
        self._base: Base | None = None

    @property
    def base(self) -> Base:
        """The model itself, loaded when something has to be made."""
        if self._base is None:
            self._base = self.subject.load()
        return self._base

    def release(self) -> None:
        self._base = None

    def progress(self, what: str) -> Callable[[int, int], None] | None:
        report = self.on_progress
        return (lambda done, total: report(what, done, total)) if report else None

    def _make(self, name: str, depends: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
        return self.kept.array(name, [self.subject.image_size, depends], make)

    # ------------------------------------------------------------ retrieval, by the model itself

    @cached_property
    def image_embeds(self) -> np.ndarray:
        """Unit embeddings of the rows' pictures, (N, D)."""
        from ..vectors import embed_pictures

        held, told = self.held, self.progress("embedding pictures")
        return self._make(
            "image_embeds",
            [held.stamp, [row.id for row in held.rows], self.subject.by],
            lambda: embed_pictures(
                self.base, held.shards, held.rows, held.evaluate.batch_size, told, self.subject.by
            ),
        )

    @cached_property
    def text_embeds(self) -> np.ndarray:
        """Unit embeddings of the distinct captions, (C, D)."""
        return self.captions("text_embeds", self.held.captions)

    def captions(self, name: str, captions: list[str]) -> np.ndarray:
        """Unit embeddings of captions by this model, (n, D), kept under that name."""
        from ..vectors import embed_captions

        return self._make(
            name, captions, lambda: embed_captions(self.base, captions, self.held.evaluate.batch_size)
        )

    @cached_property
    def found(self) -> dict[str, Ranked]:
        """What each caption finds among the pictures (t2i) and each picture among the captions (i2t)."""
        from .recall import ranked

        pairs = self.held.pairs
        return {
            "t2i": ranked(self.text_embeds, self.image_embeds, pairs, top=TOP),
            "i2t": ranked(self.image_embeds, self.text_embeds, pairs[:, ::-1], top=TOP),
        }

    # ------------------------------------------------------------ drawn pictures, as the scorer sees them

    def draw(self, name: str, prompts: list[str], seeds: list[int]) -> np.ndarray:
        """A picture a prompt, uint8 (n, S, S, 3), kept under that name."""
        from ..sampling import sample

        options, told = self.held.generate, self.progress("drawing")

        def make(start: int, stop: int) -> np.ndarray:
            pictures = sample(
                self.base, prompts[start:stop], seeds[start:stop], steps=options.steps, guidance=options.guidance,
                batch_size=options.batch_size,
                on_progress=(lambda done, _: told(start + done, len(prompts))) if told else None,
            )  # fmt: skip
            return np.stack([np.asarray(picture) for picture in pictures])

        return self.kept.rows(name, self._drawing(prompts, seeds), len(prompts), make)

    def _drawing(self, prompts: list[str], seeds: list[int]) -> list[Any]:
        """What drawn pictures depend on, beside the weights."""
        options = self.held.generate
        return [self.subject.image_size, prompts, seeds, options.steps, options.guidance]

    @cached_property
    def generated(self) -> np.ndarray:
        """A picture a prompt, uint8 (n, S, S, 3); the same prompts and seeds for every model."""
        return self.draw("generated", self.held.prompts, self.held.seeds)

    @cached_property
    def _seen(self) -> tuple[np.ndarray, np.ndarray]:
        return self.held.seen(self.generated, self._drawing(self.held.prompts, self.held.seeds), self.kept)

    @property
    def generated_features(self) -> np.ndarray:
        """Extractor features of the drawn pictures, (n, d)."""
        return self._seen[0]

    @property
    def generated_embeds(self) -> np.ndarray:
        """Scorer embeddings of the drawn pictures, unit, (n, D)."""
        return self._seen[1]

    @cached_property
    def _real(self) -> tuple[np.ndarray, np.ndarray]:
        if self.before:
            return self.before._real
        return self.held.looked_at(
            self.held.real_rows, self.subject.image_size, self.progress("real pictures")
        )

    @property
    def real_features(self) -> np.ndarray:
        """Extractor features of the real pictures, (R, d)."""
        return self._real[0]

    @property
    def real_embeds(self) -> np.ndarray:
        """Scorer embeddings of the real pictures, unit, (R, D)."""
        return self._real[1]

    @cached_property
    def training_embeds(self) -> np.ndarray:
        """Scorer embeddings of training pictures, unit, (T, D)."""
        if self.before:
            return self.before.training_embeds
        return self.held.looked_at(
            self.held.training_rows, self.subject.image_size, self.progress("training pictures")
        )[1]

    @property
    def prompt_embeds(self) -> np.ndarray:
        """Scorer embeddings of the prompts, unit, (n, D)."""
        return self.held.prompt_embeds

    # ------------------------------------------------------------ the neutral probe

    @cached_property
    def probe_image_embeds(self) -> np.ndarray:
        """Unit embeddings of the probe's pictures, (N, D)."""
        return self._embedded(self.held.probe)

    @cached_property
    def photo_image_embeds(self) -> np.ndarray:
        """Unit embeddings of the photos of `evaluate.probe`, (N, D)."""
        assert self.held.photos
        return self._embedded(self.held.photos)

    @cached_property
    def photo_text_embeds(self) -> np.ndarray:
        """Unit embeddings of their class prompts, (K, D)."""
        assert self.held.photos
        return self.captions("photo_texts", self.held.photos.prompts)

    def _embedded(self, probe: Probe) -> np.ndarray:
        import torch

        def make() -> np.ndarray:
            pictures, size = probe.pictures, self.held.evaluate.batch_size
            with torch.no_grad():
                parts = [
                    self.base.embed(pictures[i : i + size], self.subject.by)
                    for i in range(0, len(pictures), size)
                ]
            return torch.cat(parts).cpu().numpy()

        return self._make("probe_images", [probe.stamp, self.subject.by], make)

    @cached_property
    def probe_text_embeds(self) -> np.ndarray:
        """Unit embeddings of the probe's class prompts, (K, D)."""
        return self.captions("probe_texts", self.held.probe.prompts)

    @cached_property
    def probe_predictions(self) -> np.ndarray:
        """The UNet's predictions for fixed latents, timesteps and probe prompts, (n, c, h, w).

        The latents are normal noise: every model is asked the same, whatever its autoencoder.
        """
        import torch

        prompts = self.held.probe.prompts

        def make() -> np.ndarray:
            base = self.base
            generator = torch.Generator().manual_seed(0)
            side, parts = base.image_size // base.pipeline.vae_scale_factor, []
            with torch.no_grad():
                states = base.text(base.tokenize(prompts))[0]
                for t in PROBE_STEPS:
                    z = torch.randn(
                        (len(prompts), base.unet.config.in_channels, side, side), generator=generator
                    )
                    times = torch.full((len(prompts),), t * len(base.abar) // 1000, device=base.device)
                    parts.append(base.denoise(z.to(base.device), times, states).float().cpu())
            return torch.cat(parts).numpy()

        return self._make("probe_predictions", [prompts, PROBE_STEPS], make)

    # ------------------------------------------------------------ the denoiser on real pictures

    @cached_property
    def latents(self) -> np.ndarray:
        """The posterior means of the held-out pictures' latents, scaled, (n, c, h, w), n ≤ MOST_DENOISED."""
        from ..batches import picture

        held, base = self.held, lambda: self.base

        def make(start: int, stop: int) -> np.ndarray:
            pictures = [picture(held.shards, row) for row in held.denoised_rows[start:stop]]
            return base().encode(base().draw_pixels(pictures))[0].float().cpu().numpy()

        depends = [self.subject.image_size, held.stamp, [row.id for row in held.denoised_rows]]
        return self.kept.rows("latents", depends, len(held.denoised_rows), make)

    @cached_property
    def denoise_errors(self) -> np.ndarray:
        """Mean squared error of the denoiser's prediction for each of those pictures by its caption, (n,).

        Of DENOISE_STRATA timesteps a picture, one from each part of the schedule; every model is asked the same.
        """
        import torch

        from ..views import draw

        held, count = self.held, DENOISE_STRATA

        def some(start: int, stop: int) -> np.ndarray:
            base, places, errors = self.base, list(range(start, stop)), []
            z = torch.from_numpy(np.array(self.latents[start:stop])).to(base.device)  # (B, c, h, w)
            with torch.no_grad():
                captions = [row.captions[0] for row in held.denoised_rows[start:stop]]
                states = base.text(base.tokenize(captions))[0]
                for k in range(count):
                    u = draw(held.evaluate.seed, k, places, "t", (), uniform=True)
                    t = ((k + u) / count * len(base.abar)).long().to(base.device)
                    eps = draw(held.evaluate.seed, k, places, "noise", tuple(z.shape[1:])).to(base.device)
                    off = base.denoise(base.noisy(z, eps, t), t, states) - base.target(z, eps, t)
                    errors.append(off.float().square().mean(dim=(1, 2, 3)).cpu())
            return torch.stack(errors).mean(dim=0).double().numpy()

        def make(start: int, stop: int) -> np.ndarray:
            size = held.evaluate.batch_size  # of the UNet; CHUNK is what is kept at a time
            return np.concatenate([some(i, min(i + size, stop)) for i in range(start, stop, size)])

        ids = [row.id for row in held.denoised_rows]
        depends = [self.subject.image_size, held.stamp, ids, held.evaluate.seed, count]
        return self.kept.rows("denoise_errors", depends, len(ids), make)

    @cached_property
    def grid_embeds(self) -> np.ndarray:
        """Scorer embeddings of P prompts each drawn from the same S seeds, unit, (P, S, D)."""
        prompts, count = list({same(p): p for p in self.held.prompts}.values())[: GRID[0]], GRID[1]
        asked = [prompt for prompt in prompts for _ in range(count)]
        seeds = [self.held.evaluate.seed + s for _ in prompts for s in range(count)]
        pictures = self.draw("grid", asked, seeds)
        found = self.held.seen(pictures, self._drawing(asked, seeds), self.kept)[1]
        return found.reshape(len(prompts), count, -1)
