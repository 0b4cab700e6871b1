"""Reciprocal semantic consistency (RSC) between CLIP's image features and the UNet's.

UniDiff (arXiv 2306.00813) names such a term "on visual features from CLIP and diffusion models"; its formula
is not public in a form we could read. What follows is our formulation, not the paper's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from unidiff_cli.objectives import Objective, Term

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.forward import ForwardPass

from unidiff_cli.objectives import _losses

# What a kind looks at beside the image's two features.
MORE = {
    "relational+anchor": {"frozen_image_embeds"},
    "cross_modal": {"text_embeds"},
}


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
        description="null: the empty prompt, in its own pass; caption: the denoise pass, t < max_timestep",
    )
    layer: Literal["mid", "up1"] = Field(
        "mid",
        description="whose features: the UNet's middle block or its second up block (not of decoded)",
    )
    anchor_weight: Annotated[
        float, Field(ge=0, description="weight of the base's own relations (of relational+anchor)")
    ] = 1.0

    @property
    def reads(self) -> frozenset[str]:  # type: ignore[override]
        """By kind and prompt, so that a run holds no frozen copy and no empty row that it does not look at."""
        states = "text_states" if self.prompt else "null_states"
        return frozenset({"image_embeds", "latents", states, *MORE.get(self.kind, ())})

    def build(self, base: Any) -> Term:
        """The kinds that project bring heads: h_v from CLIP's width D, h_u from the UNet's d_u."""
        if self.kind not in ("projected", "contrastive", "cross_modal"):
            return self.loss
        from unidiff_cli.objectives._heads import Headed, mlp

        d_v, d_u = base.dimension, base.feature_width(self.layer)
        heads = {"h_u": mlp(d_u, d_v)}
        if self.kind != "cross_modal":
            heads["h_v"] = mlp(d_v, d_u if self.kind == "projected" else d_v)
        return Headed(self.loss, heads)

    def loss(
        self, forward: ForwardPass, **heads: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        max_timestep = min(self.max_timestep, len(forward.base.abar))
        if self.kind == "decoded":
            return self._decoded(forward, max_timestep)
        sides = {
            "v": forward.sub_batch(forward.image_embeds),
            "u": forward.denoiser_features(max_timestep, self.layer, self.prompt),
        }
        more = {
            name: forward.sub_batch(getattr(forward, name))
            for name in sorted(MORE.get(self.kind, ()))
        }
        # The towers may run in half precision; what they are compared by may not.
        with forward.full_precision():
            sides |= {name: head(sides[name.removeprefix("h_")]) for name, head in heads.items()}
            rows = {name: forward.gather(side) for name, side in sides.items()}  # (N, ·)
            more = {name: forward.gather(value) for name, value in more.items()}
            groups = forward.gather(forward.sub_batch(forward.batch.group_ids.to(forward.device)))
            figures = {}
            if self.prompt:
                near = forward.gather(forward.timesteps) < max_timestep
                figures["consistency_rows"] = near.sum()
                if (
                    near.sum() < 2
                ):  # no other image to compare with; every parameter keeps a gradient
                    return sum((0 * r.sum() for r in rows.values()), 0 * rows["v"].sum()), figures
                rows, groups = {name: r[near] for name, r in rows.items()}, groups[near]
                if "frozen_image_embeds" in more:
                    more["frozen_image_embeds"] = more["frozen_image_embeds"][near]
            return self._compared(rows, more, groups), figures

    def _compared(self, rows: dict[str, Tensor], more: dict[str, Tensor], groups: Tensor) -> Tensor:
        v, u, tau = rows["v"], rows["u"], self.temperature
        match self.kind:
            case "relational":
                return _losses.relational(v, u, tau)
            case "relational+anchor":
                anchor = _losses.kept(v, more["frozen_image_embeds"], tau)
                return _losses.relational(v, u, tau) + self.anchor_weight * anchor
            case "projected":
                return _losses.projected(v, u, rows["h_v"], rows["h_u"])
            case "contrastive":
                return _losses.contrastive(rows["h_v"], rows["h_u"], groups, tau)
            case _:
                return _losses.cross_modal(v, rows["h_u"], more["text_embeds"], tau)

    def _decoded(self, forward: ForwardPass, max_timestep: int) -> tuple[Tensor, dict[str, Tensor]]:
        """1 − mean cos(v, f), f CLIP's feature of the image decoded from the UNet's ẑ₀.

        No heads, and gradient to both; it costs a second vision pass and the autoencoder's decoder, forward and
        backward, for the rows that count only.
        """
        chosen = forward.timesteps < max_timestep if self.prompt else forward.timesteps >= 0
        v, z0 = forward.sub_batch(forward.image_embeds), forward.denoised(max_timestep, self.prompt)
        if chosen.any():
            f = forward.base.image(forward.base.clip_resize(forward.base.decode(z0[chosen])))
            with forward.full_precision():
                apart = 1 - (v[chosen] * f).sum(1)
        else:  # every parameter keeps a gradient
            apart = (z0.sum() * 0 + v.sum() * 0).expand(0)
        return forward.mean_of(apart, chosen), {
            "consistency_rows": chosen.sum()
        } if self.prompt else {}
