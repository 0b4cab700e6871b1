"""The tables of figures in the cards: which figures, in which words."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pretraining.measures.targets import TARGETS


@dataclass(frozen=True)
class Row:
    """A line of the card's table.

    `label` says what was measured, `name` is the figure, `shape` how it is written, `beside` what
    it is to be compared with. Label and `beside` may hold figures.
    """

    label: str
    name: str
    shape: str
    beside: str = ""


def _majority(name: str) -> str:
    return f"most frequent {{{name}_majority:.1%}}, chance {{{name}_chance:.1%}}"


CLIP_ROWS = (
    Row(
        "CLIP, prompts of the 10 classes on the test photos",
        "clip.photos",
        "{:.1%}",
        "most frequent class {clip.photos_majority:.1%}",
    ),
    Row(
        "the same, mean of the classes",
        "clip.photos_balanced",
        "{:.1%}",
        "chance {clip.photos_chance:.1%}",
    ),
    Row(
        "CLIP, text-to-image retrieval among {clip.drawings:.0f} unseen renderings by their "
        "longest caption, R@1",
        "clip.text_to_image_r@1",
        "{:.1%}",
        "a perfect reader {clip.reader_r@1:.1%}, chance 0.1 %",
    ),
    Row("R@5", "clip.text_to_image_r@5", "{:.1%}"),
    Row("image-to-text retrieval, R@1", "clip.image_to_text_r@1", "{:.1%}"),
    Row("R@5", "clip.image_to_text_r@5", "{:.1%}"),
    Row("21 everyday objects by their prompts", "clip.objects", "{:.1%}", "chance 4.8%"),
    Row(
        "its image tower: the nearest other test photo is of the same class",
        "clip.photos_neighbours",
        "{:.1%}",
        "EfficientNet-Lite0 {teacher.photos_neighbours:.1%}",
    ),
    Row(
        "the same, test photos of groceries",
        "clip.grocery_neighbours",
        "{:.1%}",
        "EfficientNet-Lite0 {teacher.grocery_neighbours:.1%}",
    ),
)
PSNR, DEGREES = "{:.2f} dB PSNR", "{:.1f} degrees"
NANO_ROWS = (
    Row(
        "round trip through the autoencoder, luma's product photos",
        "autoencoder.luma_psnr_db",
        PSNR,
    ),
    Row("the same, clothing-dataset-small's test photos", "autoencoder.photos_psnr_db", PSNR),
    Row("the same, unseen renderings", "autoencoder.drawings_psnr_db", PSNR),
    Row(
        "its error of hue on saturated pixels, luma",
        "autoencoder.luma_hue_error_degrees",
        DEGREES,
    ),
    Row("the same, test photos", "autoencoder.photos_hue_error_degrees", DEGREES),
    *CLIP_ROWS,
    Row(
        "CLIP without adaptation, luma's colours",
        "clip.luma_color",
        "{:.1%}",
        _majority("clip.luma_color"),
    ),
    Row("luma's categories", "clip.luma_category", "{:.1%}", _majority("clip.luma_category")),
    Row(
        "grocery: fruit, vegetable or package",
        "clip.grocery_group",
        "{:.1%}",
        _majority("clip.grocery_group"),
    ),
    Row(
        "generation, {generation.images:.0f} prompts: measured colour is the prompt's",
        "generation.color",
        "{:.1%}",
        "true renderings {generation.color_ceiling:.1%}",
    ),
    Row(
        "the probe's type is the prompt's",
        "generation.type",
        "{:.1%}",
        "true renderings {generation.type_ceiling:.1%}",
    ),
    Row(
        "the probe's pattern is the prompt's, {generation.printed:.0f} prompts that name one",
        "generation.pattern",
        "{:.1%}",
        "true renderings {generation.pattern_ceiling:.1%}",
    ),
    Row(
        "{generation.held_out:.0f} prompts of held-out pairs: colour",
        "generation.color_held_out",
        "{:.1%}",
    ),
    Row("type", "generation.type_held_out", "{:.1%}"),
    Row("the probe itself, unseen renderings", "generation.probe_unseen", "{:.1%}"),
    Row("the probe on 100 photos it knows a word for", "generation.probe_photos", "{:.1%}"),
    Row(
        "KID of generated images against unseen renderings (nano-scorer's features)",
        "likeness.kid",
        "{:.3f}",
        "renderings against renderings {likeness.kid_real:.3f}",
    ),
    Row(
        "pixel distance to the nearest training image, least of all generated",
        "likeness.generated_pixel_gap_least",
        "{:.3f}",
        "unseen renderings {likeness.unseen_pixel_gap_least:.3f}",
    ),
    Row(
        "the same, first percentile",
        "likeness.generated_pixel_gap_q1",
        "{:.3f}",
        "unseen renderings {likeness.unseen_pixel_gap_q1:.3f}",
    ),
    Row("8 images, 25 steps, guidance, two cores", "speed.eight_images_seconds", "{:.1f} s"),
    Row("opening it, torch imported", "speed.loading_seconds", "{:.2f} s"),
)
SCORER_ROWS = tuple(
    Row(
        row.label.removeprefix("CLIP, ").replace("{clip.", "{scorer."),
        row.name.replace("clip.", "scorer."),
        row.shape,
        row.beside.replace("{clip.", "{scorer."),
    )
    for row in CLIP_ROWS
)


def table(rows: Iterable[Row], figures: Mapping[str, Mapping[str, float]]) -> str:
    """What was measured, with its target and what it is to be compared with.

    A figure that was not measured has no row.
    """
    flat = _by_name(figures)
    lines = ["| what | measured | target | beside it |", "|---|---|---|---|"]
    for row in rows:
        if row.name not in flat:
            continue
        target, value = "", row.shape.format(flat[row.name])
        if bound := TARGETS.get(row.name):
            sign = "at least" if bound.at_least else "at most"
            target = f"{sign} {row.shape.format(bound.bound)}"
        label, beside = filled(row.label, figures), filled(row.beside, figures)
        lines.append(f"| {label} | {value} | {target} | {beside} |")
    return "\n".join(lines)


def filled(text: str, figures: Mapping[str, Mapping[str, float]]) -> str:
    """A text with figures in place of their names: {clip.photos:.1%}."""
    flat = _by_name(figures)
    return re.sub(r"{([^:}]+):([^}]*)}", lambda m: format(flat[m[1]], m[2]), text)


def _by_name(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{part}.{name}": v for part, values in figures.items() for name, v in values.items()}
