"""Reciprocal semantic consistency (RSC) between CLIP's image features and the denoiser's.

UniDiff (arXiv 2306.00813) names such a term "on visual features from CLIP and diffusion models";
its formula is not public in a form we could read. What follows is our formulation, not the paper's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from unidiff_cli.models.encoders import CLIP, EncoderName
from unidiff_cli.models.needs import Needs, Tower
from unidiff_cli.objectives import Objective, Term, _losses

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.base import BaseModel
    from unidiff_cli.models.denoise_pass import DenoisePass
    from unidiff_cli.models.forward import ForwardPass

Head = Callable[..., Any]


@dataclass(frozen=True)
class Features:
    """What is compared, of the N images of all processes; what a kind does not read is None."""

    # (N, D), CLIP's, and the denoiser's: (N, d_u), or a map's (N, d_u · h · w).
    v: Tensor
    u: Tensor
    # (N,), equal within a product or duplicate group.
    groups: Tensor
    # What the heads make of v and of u.
    h_v: Any = None
    h_u: Any = None
    # (N, D), CLIP's before training.
    v0: Any = None

    def rows(self, chosen: Tensor) -> Features:
        """Those of the images set in `chosen` (N,)."""
        h_v, h_u, v0 = (x if x is None else x[chosen] for x in (self.h_v, self.h_u, self.v0))
        return Features(self.v[chosen], self.u[chosen], self.groups[chosen], h_v, h_u, v0)

    def nothing(self) -> Tensor:
        """A zero with a gradient to all that made these features."""
        columns = (self.v, self.u, self.h_v, self.h_u)
        return sum((0 * column.sum() for column in columns if column is not None), 0 * self.v.sum())


class Consistency(Objective):
    """Makes both models see the same images alike."""

    kind: Literal[
        "relational", "relational+anchor", "projected", "contrastive", "cross_modal", "decoded"
    ] = Field("relational", description="how the two sides are held together; docs/method.md")
    temperature: Annotated[
        float,
        Field(
            gt=0, description="τ of the softmax over a batch's cosines (not of projected, decoded)"
        ),
    ] = 0.1
    max_timestep: Annotated[
        int, Field(ge=1, description="timesteps t < max_timestep: images barely noised")
    ] = 300
    prompt: Literal["caption"] | None = Field(
        None,
        description="null: the empty prompt, in its own pass; caption: the denoise pass, "
        "t < max_timestep",
    )
    layer: Literal["mid", "up1"] = Field(
        "mid",
        description="whose features: the denoiser's middle block or its second up block (not of "
        "decoded)",
    )
    anchor_weight: Annotated[
        float, Field(ge=0, description="weight of the base's own relations (of relational+anchor)")
    ] = 1.0
    features: Literal["mean", "map"] = Field(
        "mean",
        description="the layer's mean, or its map at 4 × 4 places (map: of relational, "
        "relational+anchor)",
    )
    same_timestep: bool = Field(
        False, description="one timestep for all images of a step (prompt null), else one for each"
    )
    to_denoiser: Annotated[
        float, Field(ge=0, description="weight of CLIP teaching the denoiser")
    ] = 1.0
    to_clip: Annotated[float, Field(ge=0, description="weight of the denoiser teaching CLIP")] = 1.0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.features == "map" and (self._headed or self.kind == "decoded"):
            raise ValueError(
                f"features: map is of the kinds relational and relational+anchor; {self.kind} "
                "takes features: mean"
            )
        if self.same_timestep and self.prompt is not None:
            raise ValueError(
                "same_timestep is of prompt: null; with prompt: caption the timesteps are those of "
                "denoise"
            )
        if self.to_denoiser == self.to_clip == 0:
            raise ValueError("to_denoiser and to_clip are both 0; give one of them a weight")
        if self.kind in ("contrastive", "decoded") and (self.to_denoiser, self.to_clip) != (1, 1):
            raise ValueError(
                f"kind {self.kind} teaches both sides at once; to_denoiser and to_clip stay 1"
            )
        if self.kind == "cross_modal" and self.to_denoiser == 0:
            raise ValueError("kind cross_modal needs to_denoiser: its head learns by it")
        return self

    @property
    def needs(self) -> Needs:
        """By kind and prompt, so that a run holds no frozen copy and no empty row in vain."""
        return Needs(
            image_embeds=True,
            text_embeds=self.kind == "cross_modal",
            frozen_image_embeds=self.kind == "relational+anchor",
            text_states=self.prompt is not None,
            null_states=self.prompt is None,
            latents=True,
            features=self.kind != "decoded" and self.to_denoiser > 0,
        )

    @property
    def trains(self) -> frozenset[Tower]:
        towers: set[Tower] = set()
        if self.to_clip or self.kind == "relational+anchor":
            towers.add("vision")
        if self.to_denoiser:
            towers |= {"denoiser"} if self.prompt is None else {"denoiser", "text"}
        if self._headed:
            towers.add("new_layers")
        return frozenset(towers)

    @property
    def covers(self) -> frozenset[Tower]:
        """Not the denoiser: its features come from a part of it."""
        return self.trains - {"denoiser", "text"}

    @property
    def encoder(self) -> EncoderName | None:
        """CLIP's, where it is compared by how it matches captions."""
        return CLIP if self.kind == "cross_modal" else None

    @property
    def _headed(self) -> bool:
        return self.kind in ("projected", "contrastive", "cross_modal")

    def build(self, base: BaseModel) -> Term:
        """The kinds that project bring heads: h_v from CLIP's D, h_u from the denoiser's d_u.

        Of `projected` each is there to teach its side.
        """
        if not self._headed:
            return self.loss
        from unidiff_cli.objectives._heads import LossModule, mlp

        d_v, d_u = base.dimension, base.feature_width(self.layer)
        heads = {"h_u": mlp(d_u, d_v)} if self.to_denoiser else {}
        if self.kind != "cross_modal" and self.to_clip:
            heads["h_v"] = mlp(d_v, d_u if self.kind == "projected" else d_v)
        return LossModule(self.loss, heads)

    def loss(
        self, forward: ForwardPass, h_u: Head | None = None, h_v: Head | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        from unidiff_cli.models.features import FeatureQuery

        max_timestep = min(self.max_timestep, len(forward.base.schedule))
        if self.kind == "decoded":
            return self._decoded(forward, max_timestep)
        v = forward.sub_batch(forward.image_embeds)
        u = forward.denoiser_features(
            FeatureQuery(
                self.layer,
                max_timestep,
                self.prompt,
                self.features,
                self.same_timestep,
                trains=self.to_denoiser > 0,
            )
        )
        captions = v0 = None
        if self.kind == "cross_modal":
            captions = forward.gather(forward.sub_batch(forward.text_embeds))
        if self.kind == "relational+anchor":
            v0 = forward.gather(forward.sub_batch(forward.frozen_image_embeds))
        # The towers may run in half precision; what they are compared by may not.
        with forward.full_precision():
            features = Features(
                forward.gather(v),
                forward.gather(u),
                forward.gather(forward.sub_batch(forward.batch.group_ids.to(forward.device))),
                forward.gather(h_v(v)) if h_v else None,
                forward.gather(h_u(u)) if h_u else None,
                v0,
            )
            if not self.prompt:
                return self._compared(features, captions), {}
            near = forward.gather(forward.timesteps) < max_timestep
            figures = {"consistency_rows": near.sum()}
            # A lone image has no other to be compared with.
            if near.sum() < 2:
                return features.nothing(), figures
            return self._compared(features.rows(near), captions), figures

    def _compared(self, features: Features, captions: Any) -> Tensor:
        v, u, tau = features.v, features.u, self.temperature
        ways = {"to_v": self.to_clip, "to_u": self.to_denoiser}
        match self.kind:
            case "relational":
                return _losses.relational(v, u, tau, **ways)
            case "relational+anchor":
                drift = _losses.relational_drift(v, features.v0, tau)
                return _losses.relational(v, u, tau, **ways) + self.anchor_weight * drift
            case "projected":
                return _losses.projected(v, u, features.h_v, features.h_u, **ways)
            case "contrastive":
                return _losses.feature_contrast(features.h_v, features.h_u, features.groups, tau)
            case _:
                return _losses.cross_modal(v, features.h_u, captions, tau, **ways)

    def _decoded(self, forward: ForwardPass, max_timestep: int) -> tuple[Tensor, dict[str, Tensor]]:
        """1 − mean cos(v, f), f CLIP's feature of the image decoded from the denoiser's ẑ₀.

        No heads, and gradient to both. It costs a second vision pass and the autoencoder's decoder,
        forward and backward, for the rows that count only.
        """
        import torch

        chosen = forward.timesteps < max_timestep if self.prompt else forward.timesteps >= 0
        v = forward.sub_batch(forward.image_embeds)
        distances = [
            self._distances(forward, seen, seen.own(v), seen.own(chosen), max_timestep)
            for seen in forward.passes
        ]
        figures = {"consistency_rows": chosen.sum()} if self.prompt else {}
        # Their order does not count.
        return forward.mean_of(torch.cat(distances), chosen), figures

    def _distances(
        self, forward: ForwardPass, seen: DenoisePass, v: Tensor, chosen: Tensor, max_timestep: int
    ) -> Tensor:
        """1 − cos(v, f) of those of a pass's images that are set in `chosen` (n,)."""
        base, z0 = forward.base, seen.denoised(max_timestep, self.prompt)
        if not chosen.any():
            # Every parameter keeps a gradient.
            return (z0.sum() * 0 + v.sum() * 0).expand(0)
        f = base.encode_images(base.clip_resize(base.decode_latents(z0[chosen])))
        with forward.full_precision():
            return 1 - (v[chosen] * f).sum(1)
