"""Fields of captions that nobody filled: [trigger] of a training tool, {name} of a template.

Only words of such tools count: shops write brands and offers in brackets too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import shown

# Rows below which nothing is said, and the share of them that has the same field.
FEW, SHARE = 5, 0.5
_WORD = (
    "(?:trigger|trigger_?word|token|name|class|subject|concept|instance|object|caption|prompt|title|"
    "product|brand|category|type|color|colour|style|keyword|description|attribute|placeholder)"
)
_FIELD = re.compile(rf"\[{_WORD}\]|\{{{_WORD}\}}|<{_WORD}>|%{_WORD}%", re.IGNORECASE)


def unfilled_fields(captions: Iterable[Iterable[str]]) -> list[Doubt]:
    """A doubt for the field that most images have in a caption; none where there is none."""
    counts: Counter[str] = Counter()
    images = 0
    for of_image in captions:
        images += 1
        counts.update(set(_FIELD.findall(" ".join(of_image))))
    if not counts or images < FEW:
        return []
    field, count = counts.most_common(1)[0]
    if count < SHARE * images:
        return []
    return [
        Doubt(
            f"The captions of {count:,} of {images:,} images have the field {shown(field)}, "
            "which is read as it stands.",
            "Write the words that it stands for into the captions.",
            stops=True,
        )
    ]
