"""A folder of images without a table: side-car text files are captions, sub-folders are classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.readers import Reader, shown, walk
from unidiff_cli.data.sample import FOREIGN, IMAGE_SUFFIXES, SPLITS, Rejected, Sample
from unidiff_cli.errors import UsageError

SIDECARS = (".txt", ".caption")
COLUMNS = ("class", "folder", "split")
NO_CLASS = frozenset(
    ("images", "image", "imgs", "img", "photos", "pictures", "pics", "data", "dataset")
)
MAX_SIDECAR = 1 << 20


class Folder(Reader):
    """Images below a folder; each line of `a.txt` is a caption of `a.jpg` and wins over the folder's name."""

    def __init__(self, path: Path, options: Prepare) -> None:
        super().__init__(path, options)
        for column in options.where:
            if column not in COLUMNS:
                raise UsageError(
                    f"prepare.where names the column '{column}', but a folder without a table has none of that name.",
                    f"Known: {', '.join(COLUMNS)}.",
                )

    @classmethod
    def accepts(cls, path: Path) -> bool:
        return path.is_dir()

    def describe(self) -> str:
        classes = Counter(
            s.attributes.get("class", "") for s in islice(self, 10_000) if isinstance(s, Sample)
        )
        named = [name for name, _ in classes.most_common(8) if name]
        lines = ["a folder of images without a table"]
        if named:
            lines.append(
                f"classes from sub-folders: {', '.join(named)}{', …' if len(classes) > 8 else ''}"
            )
        return "\n".join([*lines, *self.peek()])

    def __iter__(self) -> Iterator[Sample | Rejected]:
        self._fresh()
        files = list(walk(self.root))
        beside = {f for f in files if f.suffix.lower() in SIDECARS}
        for path in files:
            if path.suffix.lower() in IMAGE_SUFFIXES | FOREIGN:
                columns = self._columns(path)
                if self._wanted(columns):
                    yield self._sample(path, columns, beside)

    def _columns(self, path: Path) -> dict[str, Any]:
        """What an image's place says: train/men/shirts/a.jpg is split train, class shirts, folder men/shirts."""
        folders = [shown(name) for name in path.relative_to(self.root).parts[:-1]]
        columns = {}
        if folders and folders[0].lower() in SPLITS:
            columns["split"] = SPLITS[folders.pop(0).lower()]
        folders = [name for name in folders if name.lower() not in NO_CLASS]
        if folders:
            columns["class"] = folders[-1]
        if len(folders) > 1:
            columns["folder"] = "/".join(folders)
        return columns

    def _sample(self, path: Path, columns: dict[str, Any], beside: set[Path]) -> Sample | Rejected:
        row = shown(path.relative_to(self.root))
        sidecar = next(
            (s for suffix in SIDECARS for s in _names(path, suffix) if s in beside), None
        )
        if sidecar:
            found, reason = (
                self._captions(_text(sidecar)),
                f"no caption: {shown(sidecar.name)} is empty",
            )
        else:
            label = {
                **columns,
                "class": str(columns.get("class", "")).replace("_", " ").replace("-", " "),
            }
            try:
                found, reason = (
                    (captions.fill(self.options.caption or "a photo of {class}", label),),
                    "",
                )
            except KeyError as missing:
                found = ()
                reason = f"no caption: no .txt beside it and no sub-folder that gives its {missing.args[0]}"
        return (
            Sample(row, path, found, columns, split=columns.get("split"))
            if found
            else Rejected(row, reason, row)
        )


def _names(path: Path, suffix: str) -> tuple[Path, Path]:
    """a.txt and a.jpg.txt for a.jpg."""
    return path.with_suffix(suffix), path.with_name(path.name + suffix)


def _text(path: Path) -> list[str]:
    with open(path, "rb") as stream:
        data = stream.read(MAX_SIDECAR)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    return [line for line in text.splitlines() if len(line) <= captions.MAX_LENGTH]
