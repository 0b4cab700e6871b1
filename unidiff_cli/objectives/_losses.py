"""The formulas that losses share: in-batch softmaxes, divergences, and the denoiser's errors.

How CLIP's image features and the denoiser's are compared is our formulation, not UniDiff's (arXiv
2306.00813). Rows of v (N, D) and u (N, d_u) belong to the same N images; `sg` is a stop-gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.denoise_pass import DenoisePass
    from unidiff_cli.models.forward import ForwardPass

# The logit of a pair that does not count: finite, since 0 · −∞ is not a number.
NEVER = -1e4


def unit(x: Tensor) -> Tensor:
    """Rows scaled to length 1; a row of zeros stays one.

    Centred features go to zero where they collapse, so the smallest norm is 1e-6 here and bounds
    the gradient; `models.clip.unit` is for embeddings, which do not, and keeps torch's 1e-12.
    """
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-6)


def kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(sg P ‖ Q) of each row of log-probabilities, (N,): the teacher gets no gradient."""
    teacher = teacher.detach()
    return (teacher.exp() * (teacher - student)).sum(1)


# ---------------------------------------------------------------- images and captions


def targets(captions: Tensor, groups: Tensor, same_group: str) -> tuple[Tensor, Tensor]:
    """Positive shares (N, N), rows summing to 1, and the mask of pairs left out of the softmax.

    Equal captions are positives of each other. Another caption of the same product or duplicate
    group is `ignore`d (no negative), a `positive`, or a `negative`.
    """
    same_caption = captions[:, None] == captions[None, :]
    same_product = groups[:, None] == groups[None, :]
    positive = same_caption | same_product if same_group == "positive" else same_caption
    left_out = same_product & ~positive & (same_group == "ignore")
    return positive / positive.sum(1, keepdim=True), left_out


def symmetric_cross_entropy(logits: Tensor, shares: Tensor, left_out: Tensor) -> Tensor:
    """½[CE(logits, shares) + CE(logitsᵀ, shares)] over the pairs not left out, a scalar.

    Equals open_clip's loss when every caption and group is its own (shares = I). Source: CLIP,
    arXiv 2103.00020, figure 3.
    """
    image = cross_entropy(logits, shares, left_out)
    text = cross_entropy(logits.T, shares, left_out.T)
    return (image.mean() + text.mean()) / 2


def cross_entropy(logits: Tensor, shares: Tensor, left_out: Tensor) -> Tensor:
    """CE(logits, shares) of each row over the pairs not left out, all (n, N): (n,)."""
    return -(shares * logits.masked_fill(left_out, NEVER).log_softmax(1)).sum(1)


# ---------------------------------------------------------------- CLIP and the denoiser


def relations(features: Tensor, temperature: float) -> Tensor:
    """log P_ij = log softmax_{j≠i}(cos_ij/τ) of centred features (N, d); the diagonal is −10⁴.

    Centring is mandatory: with a common mean of cosine 0.90 left in, the loss measures the mean
    (2.09 instead of 0.25 in a trial), not how images relate.
    """
    centred = unit(features - features.mean(0, keepdim=True))
    cosines = centred @ centred.T / temperature
    itself = cosines.new_ones(len(cosines)).diag().bool()
    return cosines.masked_fill(itself, NEVER).log_softmax(1)


def both_ways(log_v: Tensor, log_u: Tensor, to_v: float = 1.0, to_u: float = 1.0) -> Tensor:
    """(1/2N) Σ_i [to_v · KL(sg Pᵘ_i ‖ Pᵛ_i) + to_u · KL(sg Pᵛ_i ‖ Pᵘ_i)] of log P (N, M), a scalar.

    A side with weight 0 gets no gradient: the other one learns from it.
    """
    ways = [to_v * kl(log_u, log_v)] if to_v else []
    ways += [to_u * kl(log_v, log_u)] if to_u else []
    return sum(ways[1:], ways[0]).mean() / 2


def relational(
    v: Tensor, u: Tensor, temperature: float = 0.1, to_v: float = 1.0, to_u: float = 1.0
) -> Tensor:
    """`both_ways` of the relations between images, a scalar.

    No parameters, any dimensions; invariant to rotation, scale and shift of either. 0 when both
    collapse, so it does not by itself prevent that.
    """
    return both_ways(relations(v, temperature), relations(u, temperature), to_v, to_u)


def relational_drift(v: Tensor, v0: Tensor, temperature: float = 0.1) -> Tensor:
    """mean_i KL(P^{v,base}_i ‖ Pᵛ_i): how far the relations of v left the base's v0 (N, D)."""
    return kl(relations(v0, temperature), relations(v, temperature)).mean()


def projected(
    v: Tensor,
    u: Tensor,
    h_v: Tensor | None,
    h_u: Tensor | None,
    to_v: float = 1.0,
    to_u: float = 1.0,
) -> Tensor:
    """−½ mean[to_u · cos(sg v, h_u(u)) + to_v · cos(sg u, h_v(v))], a scalar.

    h_u (N, D) and h_v (N, d_u) are heads' outputs; one that is None is left out. As REPA (arXiv
    2410.06940) aligns a denoiser's features with a frozen encoder's, but both ways. −1 is also
    reached when both collapse.
    """
    ways = [to_u * (unit(v.detach()) * unit(h_u)).sum(1)] if h_u is not None else []
    ways += [to_v * (unit(u.detach()) * unit(h_v)).sum(1)] if h_v is not None else []
    return -sum(ways[1:], ways[0]).mean() / 2


def feature_contrast(h_v: Tensor, h_u: Tensor, groups: Tensor, temperature: float = 0.1) -> Tensor:
    """½[CE(h_v h_uᵀ/τ, I) + CE(h_u h_vᵀ/τ, I)] over N images, of heads' outputs (N, d) at length 1.

    An image's two features meet and part from other images'; those of its own product or duplicate
    group are left out. ln N when either side collapses.
    """
    cosines = unit(h_v) @ unit(h_u).T / temperature
    itself = cosines.new_ones(len(cosines)).diag()
    left_out = (groups[:, None] == groups[None, :]) & ~itself.bool()
    return symmetric_cross_entropy(cosines, itself, left_out)


def cross_modal(
    v: Tensor,
    h_u: Tensor,
    e: Tensor,
    temperature: float = 0.1,
    to_v: float = 1.0,
    to_u: float = 1.0,
) -> Tensor:
    """`both_ways` of how images match captions, a scalar.

    Pᵛ = softmax_j(v·e_j/τ), Pᵘ = softmax_j(h(u)·e_j/τ). The captions e (M, D) are the ruler and get
    no gradient: were they moved, all of them in one place would end every disagreement.
    """
    e = unit(e.detach())
    log_v = (unit(v) @ e.T / temperature).log_softmax(1)
    log_u = (unit(h_u) @ e.T / temperature).log_softmax(1)
    return both_ways(log_v, log_u, to_v, to_u)


# ---------------------------------------------------------------- the denoiser


def squared_errors(forward: ForwardPass, snr_gamma: float | None) -> Tensor:
    """w(t)·‖target − f(z_t, t, c)‖² of each sample, the mean over its latents, (b,)."""
    schedule = forward.base.schedule

    def errors(seen: DenoisePass) -> Tensor:
        target = schedule.target(seen.latents, seen.noise, seen.timesteps)
        return (seen.prediction - target).square().mean(dim=(1, 2, 3))

    error, t = forward.by_shape(errors), forward.timesteps
    return error if snr_gamma is None else error * schedule.loss_weights(t, snr_gamma)
