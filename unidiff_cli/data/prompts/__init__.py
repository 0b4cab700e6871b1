"""Prompts in a natural language: one YAML file each, the only place where they are worded.

In comes the name of a language, out go its `Prompts`. To add one, write a file with the keys of
`en.yaml` beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

LANGUAGE = "en"


@dataclass(frozen=True)
class Prompts:
    """The wording of captions and prompts; what is in braces is filled in."""

    class_caption: str
    class_prompts: tuple[str, ...]
    attribute_captions: tuple[str, ...]
    before_colours: tuple[str, ...]
    between_colours: tuple[str, ...]
    object_prompt: str
    # Article -> the first letters of names that take it; "" takes the others.
    articles: dict[str, str]

    def of_object(self, name: str) -> str:
        """The prompt of an everyday object."""
        fitting = (a for a, letters in self.articles.items() if not letters or name[0] in letters)
        return self.object_prompt.format(article=next(fitting, ""), name=name)


@cache
def load_prompts(language: str = LANGUAGE) -> Prompts:
    """The prompts of a language."""
    from ruamel.yaml import YAML

    file = Path(__file__).parent / f"{language}.yaml"
    keys = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    lists = {key: tuple(value) for key, value in keys.items() if isinstance(value, list)}
    return Prompts(**{**keys, **lists})
