"""TODO docstring."""

from __future__ import annotations

from unidiff_cli.evaluation.statistics import LEVEL, holm
from unidiff_cli.reports.evaluation import SIDES, Found, format_value

IMAGES = {
    "train": "training images",
    "val": "validation images",
}  # by split; any other was held out


# ---------------------------------------------------------------- the verdict


def verdict(found: Found) -> str:
    """Better, worse, mixed or not distinguishable for each side, with figures: of every model but blends, against what it
    was tested against. The word allows for a side's several figures (Holm): one of five is found better by chance soon.
    """
    first, *others = found["models"]
    tested = [(name, first) for name in others] + [
        (t["model"], t["against"]) for t in found["tests"]
    ]
    pairs = [pair for pair in dict.fromkeys(tested) if found["models"][pair[0]]["alpha"] == 1]
    said = []
    for model, against in pairs:
        name = f"{model} against {against}: " if len(pairs) > 1 else ""
        said += [name + " ".join(sides)] if (sides := _sides(found, model, against)) else []
    counts = found["counts"]
    over = f"{counts['rows']:,} {IMAGES.get(found['split'], 'held-out images')} of {counts['groups']:,} products or groups"
    drawn = f", {counts['drawn']:,} drawn" if counts["drawn"] else ""
    folds = counts.get("folds")
    runs = (
        f"{folds} training runs, one a fold"
        if folds
        else f"one training run{' each' * (len(pairs) > 1)}"
    )
    said.append(f"Over {over}{drawn}; {runs}, so seeds are not in these intervals.")
    return ("\n" if len(pairs) > 1 else " ").join(said)  # a line a pair, or nobody reads it


def _sides(found: Found, model: str, against: str) -> list[str]:
    tests = {
        t["figure"]: t for t in found["tests"] if (t["model"], t["against"]) == (model, against)
    }
    first, said = next(iter(found["models"])), []
    none = "not distinguishable" + " from before" * (against == first)
    for side, name in SIDES.items():
        keys = [
            k
            for k, d in found["described"].items()
            if d["judges"] == side and d["headline"] and k in tests
        ]
        if not keys:
            continue
        p = dict(zip(keys, holm([tests[k]["p"] for k in keys]), strict=True))
        words = {tests[k]["verdict"] for k in keys if p[k] < 1 - LEVEL} - {"not distinguishable"}
        word = "mixed" if len(words) > 1 else words.pop() if words else none
        changes = "; ".join(_change(found, against, model, k) for k in keys)
        said.append(f"{name}: {word} ({changes}).")
    flags = found["flags"].get(model, []) if against == first else []
    if raised := [flag["words"] for flag in flags if flag["raised"]]:
        said.append(f"Collapse meters tripped: {'; '.join(raised)}.")
    return said


def _change(found: Found, first: str, last: str, key: str) -> str:
    about, before, after = (
        found["described"][key],
        found["figures"][first][key],
        found["figures"][last][key],
    )
    shown = (format_value(f["value"], about["percent"]) for f in (before, after))
    return f"{about['label']} {' → '.join(shown)}"
