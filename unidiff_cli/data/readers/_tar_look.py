"""What the first members of a tar say of all: where keys end, and how texts are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers import _tars
from unidiff_cli.data.readers._tar_keys import TEXTS, VIEWS, Dot, crowded_keys, is_of_macos, last
from unidiff_cli.data.readers._text_look import TextLook, look_at

# Members that are looked at.
HEAD = 2000


@dataclass
class TarLook:
    """Where keys end, keys that hold several samples, and how texts are read."""

    options: Prepare
    dot: Dot = "first"
    crowded: dict[str, int] = field(default_factory=dict)
    texts: TextLook = field(default_factory=TextLook)

    def decisions(self) -> dict[str, str]:
        keys = {"keys in tars end at": f"the {self.dot} dot of a name"} if self.crowded else {}
        return {**keys, **self.texts.decisions()}

    def doubts(self) -> Iterator[Doubt]:
        yield from self.texts.doubts(self.options)
        if self.crowded and not self.options.tar_keys:
            key, count = next(iter(self.crowded.items()))
            yield Doubt(
                f"By webdataset's rule a key ends at the first dot of a name, so that {count:,} "
                f"images with a text each have the key '{key}'; they are read with keys that end "
                f"at the {self.dot} dot.",
                "Say which: --set prepare.tar_keys=last (each is a product) or "
                "--set prepare.tar_keys=first (all of a key are one product)",
                stops=True,
            )


def look_into(tars: Iterable[Location], options: Prepare) -> TarLook:
    """Looks at the first members of tars; an image is passed over."""
    names, texts = [], []
    most = options.limits.text_bytes

    def wanted(name: str) -> int:
        return most if last(f".{name.lower()}") in TEXTS else 0

    for tar in tars:
        for member in islice(_tars.members(tar, wanted, options.limits.inflation), HEAD):
            if not member.problem and not is_of_macos(member.name):
                names.append(member.name)
                texts += [(member.name, member.data)] if member.data else []
    look = TarLook(options, crowded=crowded_keys(names), texts=look_at(lambda: texts, options))
    is_crowded = any(count > VIEWS for count in look.crowded.values())
    look.dot = options.tar_keys or ("last" if is_crowded else "first")
    return look
