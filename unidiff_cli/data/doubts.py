"""What of a catalogue may be meant otherwise than it is read: said before the work begins.

A doubt that decides the result by a guess stops prepare. The recipe says by name what is meant, or
`--yes` accepts the guess. Any other doubt is a warning, which `--strict` refuses.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from unidiff_cli.errors import Problems

logger = logging.getLogger("unidiff")


@dataclass(frozen=True)
class Doubt:
    """What is doubtful (a sentence), and what to do where it is not meant so (a sentence).

    One that `stops` is a guess on which the result depends.
    """

    fact: str
    action: str
    stops: bool = False


def settle(doubts: Iterable[Doubt], yes: bool, strict: bool) -> list[str]:
    """Logs the doubts that may pass, and returns their facts.

    Guesses pass with `yes`, warnings without `strict`; with `strict` nothing passes. Raises
    Problems (a UsageError) with all the others.
    """
    doubts = list(dict.fromkeys(doubts))
    refused = [doubt for doubt in doubts if strict or (doubt.stops and not yes)]
    passed = [doubt for doubt in doubts if doubt not in refused]
    for doubt in passed:
        logger.warning("%s %s", doubt.fact, doubt.action)
    if refused:
        guesses = any(doubt.stops for doubt in refused)
        facts = [f"{doubt.fact} {doubt.action}" for doubt in refused]
        raise Problems(facts, _way_on(guesses, strict))
    return [doubt.fact for doubt in passed]


def _way_on(guesses: bool, strict: bool) -> str:
    """What to do where doubts are refused; without `guesses` all of them are warnings."""
    if not strict:
        return "Say what is meant, or accept all this with --yes."
    if not guesses:
        return "Mend this, or leave out --strict."
    return "Say what is meant. --strict accepts no guess; --yes without it does."
