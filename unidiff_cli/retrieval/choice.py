"""Which kind of index a catalogue gets."""

from __future__ import annotations

from unidiff_cli import registry
from unidiff_cli.config.schema import AUTO_INDEX
from unidiff_cli.retrieval.index import Index


def choose_kind(named: str, images: int) -> tuple[str, str]:
    """The kind of index for so many images, and a sentence that says which and why.

    Raises UsageError for a kind that no package offers.
    """
    if named != AUTO_INDEX:
        registry.load("indexes", named)
        return named, f"The index is of the kind {named}, as index.kind says."
    kinds: dict[str, type[Index]] = {
        name: registry.load("indexes", name) for name in registry.names("indexes")
    }
    least = {name: kind.images_from for name, kind in kinds.items() if kind.images_from is not None}
    chosen = max((n for n in least if least[n] <= images), key=least.__getitem__)
    how = "exact" if kinds[chosen].exact else "approximate"
    above = min((count for count in least.values() if count > images), default=None)
    why = f"from {least[chosen]:,} images on" if above is None else f"below {above:,} images"
    return chosen, f"The index is of the kind {chosen}, {how}, as always {why} (index.kind: auto)."
