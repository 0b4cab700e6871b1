"""What a text beside an image is other than a caption: settings of a generator, boxes, bad letters.

Automatic1111 and its kin write the prompt and, below it, the negative prompt and the settings.
labelImg and other tools write the boxes of things as numbers.
"""

from __future__ import annotations

import re
import unicodedata

# Where the prompt ends, in a line of its own or not.
_NEGATIVE = re.compile(r"(?:^|\s)negative[ _]?prompts?\s*[:=]|^negative\s*[:=]", re.I | re.M)
_STEPS = re.compile(r"(?:^|\s)(?:sampling )?steps\s*:\s*\d+\s*,\s*[a-z][\w ]{2,20}:", re.I | re.M)
_SETTINGS = """
    steps sampler scheduler seed model size width height cfg guidance denoising clip vae lora
    lycoris hires batch strength version
""".split()
_SETTING = re.compile(
    rf"(?:^|,)[ \t]*[\"']?({'|'.join(_SETTINGS)})\b[\w \t-]{{0,20}}[\"']?[ \t]*[:=]", re.I | re.M
)
# A product may have a size and a model, and no seed.
_SURE, _ENOUGH = frozenset("steps sampler scheduler seed cfg guidance denoising".split()), 3
_LABEL = re.compile(r"\s*(?:positive[ _]?)?(?:prompt|parameters|positive)\s*[:=]\s*", re.I)

# Two letters, or one of a script whose words may be one letter.
_WORD = re.compile(r"[^\W\d_]{2,}|[^\W\d_\x00-\u02ff]")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.I)
_NOT_WORDS = re.compile(r"\b(?:nan|inf|infinity|null|none|true|false)\b", re.I)
_BETWEEN = re.compile(r"[\s,;|\[\](){}]+")

# Letters of one alphabet within words of another, or an accent on every letter.
_LATIN, _OTHER = "A-Za-z\u00c0-\u024f", "\u0370-\u03ff\u0400-\u052f\u0590-\u06ff"
_MIXED = re.compile(
    rf"[{_LATIN}][{_OTHER}]|[{_OTHER}][{_LATIN}]"
    "|[a-z\u00df-\u00ff][\u2e80-\u9fff\uac00-\ud7af\uff61-\uff9f]+[a-z\u00df-\u00ff]"
    "|[^\\W\\d_][\u2500-\u259f]|[\u2500-\u259f][^\\W\\d_]"
    "|\ufffd|[\x80-\x9f]|[\u00c0-\u00ff]{4,}"
)


def prompt_of(text: str) -> str | None:
    """The prompt of a text with an image generator's settings; None for any other text."""
    ends = [match.start() for match in (_NEGATIVE.search(text), _STEPS.search(text)) if match]
    settings = list(_SETTING.finditer(text))
    names = {match[1].lower() for match in settings}
    if len(names) >= _ENOUGH and names & _SURE:
        ends.append(settings[0].start())
    if not ends:
        return None
    prompt = text[: min(ends)]
    label = _LABEL.match(prompt)
    return " ".join(prompt[label.end() if label else 0 :].split()).rstrip(",")


def is_wordless(text: str) -> bool:
    """Whether a text is numbers, alone or behind a name in each line, as boxes are written."""
    lines = [line for line in text.splitlines() if line.strip()]
    has_words = _WORD.search(_NOT_WORDS.sub(" ", text)) or not any(map(str.isdigit, text))
    return bool(lines) and (not has_words or all(map(_is_box, lines)))


def are_tags(lines: list[str]) -> bool:
    """Whether lines may be tags, one each: three or more, of a word or two, with a score or not."""
    return len(lines) >= _ENOUGH and all(len(line.split()) <= 2 for line in lines)


def has_bad_letters(text: str) -> bool:
    """Whether words mix alphabets, as those do that are read in a wrong encoding: ЬbergrцЯe."""
    return not text.isascii() and bool(_MIXED.search(unicodedata.normalize("NFC", text)))


def _is_box(line: str) -> bool:
    parts = [part for part in _BETWEEN.split(line) if part]
    numbers = [part for part in parts if _NUMBER.fullmatch(part)]
    others = len(parts) - len(numbers)
    has_fractions = sum("." in number for number in numbers) >= 2
    return len(numbers) >= 4 and 2 * others <= len(numbers) and (has_fractions or len(numbers) >= 8)
