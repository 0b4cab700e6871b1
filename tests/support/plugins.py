"""A part that another package brings, for the length of a test."""

import textwrap
from contextlib import contextmanager
from pathlib import Path

from unidiff_cli import registry


@contextmanager
def installed(monkeypatch, folder: Path, kind: str, name: str, source: str):
    """Within it a package with one part is installed; gives the part's class."""
    package = f"brought_{name}"
    (folder / f"{package}.py").write_text(textwrap.dedent(source))
    info = folder / f"{package}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    part = "".join(word.capitalize() for word in name.split("_"))
    (info / "entry_points.txt").write_text(f"[unidiff.{kind}]\n{name} = {package}:{part}\n")
    monkeypatch.syspath_prepend(folder)
    _forget()
    yield registry.load(kind, name)
    _forget()


def _forget() -> None:
    """The registry remembers what it looked up."""
    registry.names.cache_clear()
    registry.load.cache_clear()
