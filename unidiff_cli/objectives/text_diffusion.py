"""Text diffusion (DiffDis's ITA): a caption's noised embedding, predicted from the clean image.

The denoiser predicts it with the layers of DiffDis beside it. DiffDis, arXiv 2308.09306. The
learnable scale is ours: without a temperature the loss cannot fall far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from unidiff_cli.models.encoders import DIFFDIS
from unidiff_cli.models.needs import Needs
from unidiff_cli.objectives import Objective
from unidiff_cli.objectives._losses import cross_entropy
from unidiff_cli.objectives._pairs import SameGroup, pair_targets

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.base import BaseModel
    from unidiff_cli.models.denoise_pass import DenoisePass
    from unidiff_cli.models.dual_stream import DualStream
    from unidiff_cli.models.forward import ForwardPass

# Parts of the schedule, each sampled equally often and logged: where noise is low, the answer
# leaks.
QUARTERS = 4
# The part of a row whose embedding is pure noise.
PURE = QUARTERS


class TextDiffusion(Objective):
    """Retrieves with the denoiser: from pure noise it generates a text embedding for an image."""

    needs: ClassVar = Needs(text_embeds=True, null_states=True, latents=True)
    trains: ClassVar = frozenset({"denoiser", "new_layers"})
    # The denoiser runs as far as its middle block only.
    covers: ClassVar = frozenset({"new_layers"})
    encoder: ClassVar = DIFFDIS
    gamma: Annotated[
        float, Field(gt=0, le=1, description="γ: how strong e₀ stands against the noise")
    ] = 1.0
    image_drop: Annotated[
        float, Field(ge=0, lt=1, description="share of images dropped, for guidance")
    ] = 0.1
    steps: Annotated[
        int, Field(ge=1, description="DDIM steps from pure noise to an image's embedding")
    ] = 2
    guidance: Annotated[
        float,
        Field(
            ge=0, description="classifier-free guidance of these steps; 1: none, at half the passes"
        ),
    ] = 1.0
    same_group: SameGroup = "ignore"
    pure_noise: Annotated[
        float,
        Field(ge=0, le=1, description="share of rows at pure noise, where images are embedded"),
    ] = 0.5
    noises: Annotated[
        int, Field(ge=1, description="fixed noises that an image's embedding is averaged over")
    ] = 4

    def layers(self, base: BaseModel) -> DualStream:
        """DiffDis's stream, sampled as this recipe says."""
        from unidiff_cli.models.dual_stream import DualStream

        sampling = {"steps": self.steps, "guidance": self.guidance, "noises": self.noises}
        return DualStream.for_base(base, gamma=self.gamma, **sampling)

    def loss(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        from unidiff_cli.models.dual_stream import DualStream

        stream, schedule = DualStream.of(forward.base), forward.base.schedule
        assert stream is not None
        # e₀ has length 1: at unit variance it would leak.
        e0 = forward.sub_batch(forward.text_embeds).detach()
        t, parts = self._timesteps(forward)
        noise = forward.random("noise-text", tuple(e0.shape[1:]))
        e_t = stream.noisy(e0, noise, t, schedule)
        dropped = self.image_drop if forward.training else 0.0
        # The text tower is not its to move.
        null = forward.null_condition.detach()

        def predict(seen: DenoisePass) -> Tensor:
            z = seen.latents
            if dropped:
                shown = seen.random.of("drop-image", uniform=True) >= dropped
                z = z * shown.view(-1, 1, 1, 1)
            return stream.predict(forward.base, seen.own(e_t), seen.own(t), z, null)

        predicted = forward.by_shape(predict)
        # The images that the denoiser sees, against all captions of the step.
        seen = forward.own_places()[list(forward.denoise_rows)]
        predicted, seen, parts = (forward.gather(x) for x in (predicted, seen, parts))
        texts = forward.gather(forward.text_embeds.detach())
        # The trainer keeps it at 100 or below.
        scale = stream.logit_scale.exp()
        with forward.full_precision():
            # (n, N)
            logits = scale * predicted @ texts.T
        shares, left_out = pair_targets(forward, self.same_group)
        rows = cross_entropy(logits, shares[seen], left_out[seen])
        # Captions whose images were not seen have no right answer.
        shares, left_out = pair_targets(forward, self.same_group, denoised=True)
        columns = cross_entropy(logits[:, seen].T, shares, left_out)
        loss = (rows.mean() + columns.mean()) / 2
        by_part = {f"t{k}": rows[parts == k] for k in range(QUARTERS)}
        by_part["pure"] = rows[parts == PURE]
        figures = {f"text_diffusion_{name}": x.mean() for name, x in by_part.items() if len(x)}
        return loss, {**figures, "text_diffusion_scale": scale}

    def _timesteps(self, forward: ForwardPass) -> tuple[Tensor, Tensor]:
        """Timesteps (b,), and the part of the schedule that each is of (b,).

        A share `pure_noise` of rows has the last one, PURE. The others are spread over the
        schedule, each quarter as often. They are independent of the denoise pass's.
        """
        schedule = forward.base.schedule
        parts = schedule_parts(forward.denoise_positions, self.pure_noise)
        shares = (parts + forward.random("t-text", uniform=True)) / QUARTERS
        # The shares of PURE lie behind the end.
        return schedule.timesteps(shares).clamp(max=len(schedule) - 1), parts


def schedule_parts(positions: Tensor, pure_noise: float) -> Tensor:
    """Of each position of the run the quarter of the schedule, or PURE, int64 (b,).

    Of the first n positions floor(n · pure_noise) are PURE; the others take the quarters in turn.
    """
    # A float32 would not count a long run.
    pure_before = (positions.double() * pure_noise).floor().long()
    pure = ((positions + 1).double() * pure_noise).floor().long() > pure_before
    return ((positions - pure_before) % QUARTERS).masked_fill(pure, PURE)
