"""The folders of a project: which there are, which command writes each, and how it is closed."""

from __future__ import annotations

from dataclasses import dataclass

# Stands in a folder of ours that no receipt closes.
MARK = ".unidiff"


@dataclass(frozen=True)
class Folder:
    """One folder of a project: the command that writes it, and whether every project gets one."""

    command: str
    always: bool = False
    # Whether a receipt closes it.
    receipt: bool = True
    # The command that finishes an unfinished one, where that is another.
    resume: str = ""
    # Whether it holds several folders, each with a receipt.
    several: bool = False
    # A sub-folder whose files are checked when they are read.
    apart: str = ""
    # What the files end in that may lie at the project's storage alone.
    streamed: str = ""
    # The folder that holds what is done of it while it is unfinished, where that is another.
    begun: str = ""
    # What makes it again although its receipt says that it is finished.
    redo: str = " --force"


# The index that was in the place of the one that is there now.
PREVIOUS_INDEX = "previous-index"

# The folders of a project by name, in the order of the work. Every other list is made from it.
FOLDERS = {
    "shards": Folder("unidiff prepare CATALOG", always=True, streamed=".tar"),
    "runs": Folder(
        "unidiff train",
        always=True,
        resume="unidiff train --resume",
        several=True,
        apart="checkpoints",
    ),
    "exports": Folder("unidiff export", always=True, several=True),
    "index": Folder("unidiff index", always=True),
    PREVIOUS_INDEX: Folder("unidiff index"),
    "report": Folder("unidiff evaluate", always=True),
    "comparison": Folder("unidiff compare"),
    "folds": Folder("unidiff evaluate --folds 5"),
    "ablation": Folder("unidiff ablate", begun="cells", redo=""),
    "cells": Folder("unidiff ablate", receipt=False),
    "outputs": Folder("unidiff generate", receipt=False),
    "cache": Folder("any command", receipt=False),
}
