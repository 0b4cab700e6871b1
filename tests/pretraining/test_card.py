"""The card tells of a run that was stopped, continued with another budget and other commits."""

import json
import os
from datetime import UTC, datetime

from pretraining import card

BEGAN = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)


def start(minute, commit, budget):
    at = datetime.fromtimestamp(BEGAN.timestamp() + 60 * minute, UTC)
    return {
        "commit": commit,
        "changed": "",
        "renders": 24,
        "budget": 60.0 * budget,
        "seed": 0,
        "machine": "2 cores of AMD",
        "at": at.isoformat(timespec="seconds"),
    }


def test_a_run_in_parts_has_its_minutes_budgets_and_commits(tmp_path):
    # The fifth stage is begun anew with a larger budget, 15 minutes after the fourth ended.
    starts = [start(0, "aaaaaaa", 300), start(55, "bbbbbbb", 360)]
    (tmp_path / "started.json").write_text(json.dumps(starts))
    for place, name in enumerate(card.STAGES):
        folder = tmp_path / name
        folder.mkdir()
        summary = {"seconds": 600, "processes": 2, "steps": 1000, "samples": 256_000}
        (folder / "done.json").write_text(json.dumps(summary))
        ended = BEGAN.timestamp() + 60 * (10 * place + 10 + (15 if place >= 4 else 0))
        os.utime(folder / "done.json", (ended, ended))
    text = card.history_text(tmp_path)
    assert "--budget 300m, then 360m" in text
    assert "stopped once and continued with later commits" in text
    assert "It took 60 minutes from its start" in text and "and 15 in which it was stopped" in text
    assert "| denoiser | 10 min | 2 | 1,000 | 256,000 | aaaaaaa |" in text
    assert "| vision | 10 min | 2 | 1,000 | 256,000 | bbbbbbb |" in text
