"""One step back: the index that was there before, in the place of the one that is."""

from __future__ import annotations

from unidiff_cli.errors import NotReady
from unidiff_cli.project.files import swap_folders
from unidiff_cli.project.folders import PREVIOUS_INDEX
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import QUICK, Receipt


def roll_back(project: Project) -> Receipt:
    """Lets the index and the one before it change places, and gives the receipt of the latter.

    A second time undoes it. Raises NotReady where there is none before, or where the shards or the
    export that it was made of are no longer there, and WorkError where a folder holds what is not
    ours.
    """
    with project.lock(existing=True):
        if not project.path(PREVIOUS_INDEX).is_dir():
            raise NotReady(
                f"{project.root.name} holds no index from before.",
                "One is there once `unidiff index` has replaced another.",
            )
        receipt = project.receipt(PREVIOUS_INDEX, hashed=QUICK)
        project.receipt("index")
        for folder, digest in receipt.inputs.items():
            there = Receipt.read(project.path(folder))
            if there is None or there.hash != digest:
                raise NotReady(
                    f"The index from before cannot come back: {folder} changed since it was built.",
                    "Nothing was changed. Run: unidiff index",
                )
        for name in ("index", PREVIOUS_INDEX):
            project.refuse_foreign(name)
        swap_folders(project.path("index"), project.path(PREVIOUS_INDEX))
        project.keep("index", older=True)
        return receipt
