"""Which tables of a folder are the catalogue: looked for everywhere, tried, or asked for.

A table is tried by opening it with the recipe's columns: one whose first rows name images that are
there is a source of captions, and one that names none is not. Image paths may start in the table's
own folder, in the catalogue's, or in one that has the table's name, whichever holds more of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import islice
from pathlib import PurePosixPath

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import InMemory, Location
from unidiff_cli.data.readers import _families, _img2dataset
from unidiff_cli.data.readers._sources import Sources
from unidiff_cli.data.rooted import Overlay, Rooted
from unidiff_cli.data.sample import Rejected, Sample
from unidiff_cli.errors import UnidiffError, UsageError, WorkError, nearest

# Rows that are looked at of a table, and of two that may be the same.
ROWS, SAME_ROWS = 50, 10_000
# Folders that are tried for a table's images, and tables that are tried and named.
FOLDERS, TABLES, NAMED = 8, 50, 6
# Of two tables with the same rows the first of these is read.
PREFERRED = (".jsonl", ".parquet", ".csv", ".tsv", ".json")
BUT_FOLDER = "Or read the folder without it: --set prepare.reader=folder"

Items = Iterable[Sample | Rejected]
Opener = Callable[[Location], Items]


@dataclass
class Tables:
    """The tables that are read, each with its split; and what is said about that."""

    parts: list[tuple[Location, str | None]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    # Paths of tables that may be meant and are not read.
    unread: list[str] = field(default_factory=list)


@dataclass
class _Trial:
    """A table that was tried: images that its first rows name, or why it cannot be read."""

    table: Location
    images: int = 0
    problem: UnidiffError | None = None
    # Whether its images are addresses of files that lie beside it under other names.
    is_of_addresses: bool = False


def choose_tables(sources: Sources, options: Prepare, opener: Opener) -> Tables:
    """The tables of a folder that are its catalogue; none where something else is.

    Raises UsageError where several may be meant, and what a table raises that alone may be.
    """
    paths = {sources.path(table): table for table in sources.tables}
    if options.tables:
        return _parts(_named(sources, paths, options), sources, opener)
    families, weak = _candidates(sources, paths)
    tried = _try_all(families, sources, opener)
    if not (families or sources.tars or sources.sidecars):
        # Any .json may hold anything; it is a table where its first rows name images.
        families, trials = weak, _try_all(weak, sources, opener)
        tried = {name: trial for name, trial in trials.items() if trial.images}
    chosen, result = _chosen(families, tried, sources, opener)
    if chosen:
        parts = _parts(families[chosen], sources, opener)
        result.parts, result.doubts = parts.parts, [*result.doubts, *parts.doubts]
        result.lines += parts.lines
    return result


Members = list[tuple[str, Location]]


def _named(sources: Sources, paths: dict[str, Location], options: Prepare) -> Members:
    """The tables that the recipe names, by path or pattern. Raises UsageError."""
    members: dict[str, Location] = {}
    for name in options.tables:
        matching = {path: table for path, table in paths.items() if fnmatch(path, name)}
        if not matching and sources.root.child(name).is_file():
            matching = {name: sources.root.child(name)}
        if not matching:
            raise UsageError(
                f"prepare.tables names {name}, which is not below {sources.root}."
                f"{nearest(name, list(paths))}",
                f"Tables there: {_listed(paths) or 'none'}.",
            )
        members |= matching
    return list(members.items())


def _candidates(
    sources: Sources, paths: dict[str, Location]
) -> tuple[dict[str, Members], dict[str, Members]]:
    """The tables that may be meant, in families whose parts are read together.

    The second are files that need not be tables at all.
    """
    tars = {(tar.parent, tar.name.split(".")[0]) for tar in sources.tars}
    families: dict[str, Members] = defaultdict(list)
    weak: dict[str, Members] = defaultdict(list)
    for path, table in paths.items():
        name = PurePosixPath(path).name
        # Notes of whoever wrote the tars.
        beside_tar = (table.parent, name.split(".")[0].removesuffix("_stats")) in tars
        if (beside_tar and table.suffix != ".csv") or name.endswith("_stats.json"):
            continue
        is_weak = table.suffix == ".json" and not _families.is_named(path)
        (weak if is_weak else families)[_families.family(path)].append((path, table))
    return families, weak


def _try_all(families: dict[str, Members], sources: Sources, opener: Opener) -> dict[str, _Trial]:
    """A trial of the first table of each family."""
    first = {name: members[0][1] for name, members in islice(families.items(), TABLES)}
    return {name: _try(table, sources, opener) for name, table in first.items()}


def _chosen(
    families: dict[str, Members], tried: dict[str, _Trial], sources: Sources, opener: Opener
) -> tuple[str | None, Tables]:
    """The family that is read, and what is said of the others."""
    result = Tables()
    best = [name for name, trial in tried.items() if trial.images]
    others = bool(sources.tars or sources.sidecars)
    if not best:
        _raise_work_errors(tried)
        possible = [name for name, trial in tried.items() if not trial.problem]
        if others:
            result.unread = [families[name][0][0] for name in tried]
            return None, result
        best = possible or list(tried)
    if not best:
        return None, result
    best = _without_twins(best, families, tried, opener, result)
    named = [name for name in best if _families.is_named(families[name][0][0])]
    choice = best if len(best) == 1 else named
    if len(choice) != 1:
        paths = [path for name in named or best for path, _ in families[name]]
        raise UsageError(
            f"{sources.root} holds several tables: {_listed(paths)}.",
            f"Name those that are meant: --set 'prepare.tables=[{paths[0]}]'",
        )
    problem = tried[choice[0]].problem
    if problem:
        without = sources.images and not tried[choice[0]].is_of_addresses
        action = f"{problem.action} {BUT_FOLDER}" if without else problem.action
        raise type(problem)(problem.fact, action) from problem
    result.unread += [families[name][0][0] for name in best if name != choice[0]]
    return choice[0], result


def _raise_work_errors(tried: dict[str, _Trial]) -> None:
    """Raises the problem of a table that cannot be opened: nobody knows what it holds."""
    for trial in tried.values():
        if isinstance(trial.problem, WorkError):
            raise trial.problem


def _without_twins(
    names: list[str],
    families: dict[str, Members],
    tried: dict[str, _Trial],
    opener: Opener,
    result: Tables,
) -> list[str]:
    """One of each two families such as metadata.csv and metadata.jsonl."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_families.stem(name)].append(name)
    kept = []
    for group in groups.values():
        first, *rest = sorted(group, key=_preference)
        kept.append(first)
        path = families[first][0][0]
        for other in rest:
            twin = families[other][0][0]
            if tried[first].problem or tried[other].problem:
                result.unread.append(twin)
            elif _rows(opener(tried[first].table)) == _rows(opener(tried[other].table)):
                result.lines.append(f"{twin} has the same rows as {path}, which is read")
            else:
                result.doubts.append(
                    Doubt(
                        f"{path} and {twin} lie side by side and differ; {path} is read.",
                        f"Say which is meant: --set 'prepare.tables=[{twin}]'",
                        stops=True,
                    )
                )
    return kept


def _preference(name: str) -> int:
    ending = _families.ending(name)
    return PREFERRED.index(ending) if ending in PREFERRED else len(PREFERRED)


def _rows(items: Items) -> set[tuple[str, tuple[str, ...]]]:
    """What two tables with the same rows have in common."""
    samples = (item for item in islice(items, SAME_ROWS) if isinstance(item, Sample))
    return {(str(sample.image), sample.captions) for sample in samples}


def _parts(members: Members, sources: Sources, opener: Opener) -> Tables:
    """The tables of one family, each with the folder of its images and its split."""
    paths = [path for path, _ in members]
    splits = _families.splits_of(paths)
    result = Tables()
    for (_, table), split in zip(members, splits, strict=True):
        trial = _try(table, sources, opener)
        if trial.problem:
            raise trial.problem
        result.parts.append((trial.table, split))
        base = trial.table.parent.relative_to(sources.root)
        if "/" in sources.path(table) and len(members) == 1:
            place = "the catalogue's folder" if base == "." else base
            result.lines.append(f"{sources.path(table)}: image paths start in {place}")
    if missing := _families.missing_shards(paths):
        result.doubts.append(
            Doubt(
                f"{len(missing):,} shards are missing, such as {missing[0]}.",
                "Download them, or accept that they are not read with --yes.",
                stops=True,
            )
        )
    if len(paths) > 1:
        result.lines.append(f"{len(paths):,} tables read together: {_listed(paths)}")
        if _families.is_guess(paths):
            result.doubts.append(
                Doubt(
                    f"{_listed(paths)} are read together: their names differ in numbers only.",
                    f"Name those that are meant: --set 'prepare.tables=[{paths[-1]}]'",
                    stops=True,
                )
            )
    return result


# ---------------------------------------------------------------- trials


def _try(table: Location, sources: Sources, opener: Opener) -> _Trial:
    """The table with the folder that holds most of its images."""
    trials = []
    for base in islice(_bases(table, sources), FOLDERS):
        place = table if base == table.parent else Rooted(table, base)
        trials.append(_count(place, opener))
        if trials[-1].images >= ROWS:
            break
    best = max(trials, key=lambda trial: trial.images)
    if best.images:
        return best
    # None is there. What looks for them looks from the catalogue's own folder.
    return next((t for t in trials if t.table.parent == sources.root and not t.problem), best)


def _bases(table: Location, sources: Sources) -> Iterator[Location]:
    """The folders that a table's paths may start in, likeliest first."""
    name = _families.stem(table.name).lower()
    named = [folder for folder in sources.folders if len(folder.name) > 2]
    folders = [
        table.parent,
        sources.root,
        # 00000.parquet of img2dataset and 00000/, captions_val2017.json of COCO and val2017/.
        *(folder for folder in named if name.endswith(folder.name.lower())),
    ]
    for folder in dict.fromkeys(folders):
        yield Overlay(folder, tuple(sources.zips)) if sources.zips else folder


def _count(table: Location, opener: Opener) -> _Trial:
    """How many images the first rows of a table name that are there."""
    try:
        items = list(islice(opener(table), ROWS))
    except (UsageError, WorkError) as error:
        return _Trial(table, problem=error)
    samples = [item for item in items if isinstance(item, Sample)]
    count = sum(_is_there(sample.image) for sample in samples)
    problem = None if count else _img2dataset.explain(table, items)
    return _Trial(table, count, problem, is_of_addresses=problem is not None)


def _is_there(image: Location) -> bool:
    """Whether an image is there; a link that leads out is one that is refused."""
    return isinstance(image, InMemory) or image.kind() in ("file", "outside")


def _listed(paths: Iterable[str]) -> str:
    paths = list(paths)
    return ", ".join(paths[:NAMED]) + (", …" if len(paths) > NAMED else "")
