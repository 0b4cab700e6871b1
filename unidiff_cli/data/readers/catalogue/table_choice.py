"""Which tables of a folder are the catalogue: looked for everywhere, tried, or asked for.

A table whose first rows name images that are there is a source of captions. One that names none is
read only where nothing else is there. Parts of one table are read together: see `table_names.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import islice
from pathlib import PurePosixPath

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.catalogue import img2dataset, table_names
from unidiff_cli.data.readers.catalogue.survey import Sources
from unidiff_cli.data.readers.catalogue.table_trials import Opener, Trial, rows_of, try_table
from unidiff_cli.data.readers.columns.table_columns import WithoutCaptions
from unidiff_cli.errors import (
    EnvironmentProblem,
    TooLarge,
    UnidiffError,
    UsageError,
    WorkError,
    nearest,
)

# Tables that are tried, and that are named.
TABLES, NAMED = 50, 6
# Tables of one family that are tried until one of them names images and has captions.
MEMBERS = 8
# Of two tables with the same rows the first of these is read.
PREFERRED = (".jsonl", ".parquet", ".csv", ".tsv", ".json")
# What is wrong with a table of which nobody knows what it holds.
UNREADABLE = (WorkError, EnvironmentProblem, TooLarge)
BUT_FOLDER = "Or read the folder without it: --set prepare.reader=folder"


@dataclass
class Tables:
    """The tables that are read, each with its split; and what is said about that."""

    parts: list[tuple[Location, str | None]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    # Paths of tables that may be meant and are not read.
    unread: list[str] = field(default_factory=list)


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
        result.unread += parts.unread
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
        is_weak = table.suffix == ".json" and not table_names.is_named(path)
        (weak if is_weak else families)[table_names.family(path)].append((path, table))
    return families, weak


def _try_all(families: dict[str, Members], sources: Sources, opener: Opener) -> dict[str, Trial]:
    """A trial of each family: of its first table that names images, else of its first one.

    The test of a contest has no captions, and lies beside a train that has.
    """
    tried = {}
    for name, members in islice(families.items(), TABLES):
        trials = []
        for _, table in members[:MEMBERS]:
            trials.append(try_table(table, sources, opener))
            if trials[-1].images:
                break
        tried[name] = max(trials, key=lambda trial: (trial.images > 0, not trial.problem))
    return tried


def _chosen(
    families: dict[str, Members], tried: dict[str, Trial], sources: Sources, opener: Opener
) -> tuple[str | None, Tables]:
    """The family that is read, and what is said of the others."""
    result = Tables()
    best = [name for name, trial in tried.items() if trial.images]
    if not best:
        _raise_unreadable(tried, sources)
        possible = [name for name, trial in tried.items() if not trial.problem]
        if sources.tars or sources.sidecars:
            meant = [name for name in tried if _looks_meant(name, families, tried)]
            result.unread = [path for name in meant for path, _ in families[name]]
            return None, result
        best = possible or list(tried)
    if not best:
        return None, result
    single = _without_twins(best, families, tried, opener, result)
    named = [name for name in single if table_names.is_named(families[name][0][0])]
    choice = single if len(single) == 1 else named
    if len(choice) != 1:
        # A sample of what a contest wants has one caption for all.
        likely = sorted(named or single, key=lambda name: -tried[name].captions)
        paths = [path for name in likely for path, _ in families[name]]
        paths.sort(key=lambda path: table_names.split_of(path) in ("val", "test"))
        raise UsageError(
            f"{sources.root} holds several tables: {_listed(paths)}.",
            f"Name those that are meant: --set 'prepare.tables=[{paths[0]}]'."
            + (f" {BUT_FOLDER}" if sources.images else ""),
        )
    trial = tried[choice[0]]
    if trial.problem:
        raise _with_way_out(trial.problem, sources) from trial.problem
    if trial.has_addresses and sources.images:
        raise img2dataset.unclear(families[choice[0]][0][0])
    settled = {*best} - {*single} | {choice[0]}
    others = [n for n in tried if n not in settled and _looks_meant(n, families, tried)]
    result.unread += [path for name in others for path, _ in families[name]]
    return choice[0], result


def _looks_meant(name: str, families: dict[str, Members], tried: dict[str, Trial]) -> bool:
    """Whether a table that is not read looks like a source of captions."""
    problem = tried[name].problem
    return (
        problem is None
        or isinstance(problem, UNREADABLE)
        or tried[name].names_images
        or table_names.is_named(families[name][0][0])
    )


def _raise_unreadable(tried: dict[str, Trial], sources: Sources) -> None:
    """Raises the problem of a table that cannot be opened: nobody knows what it holds."""
    for trial in tried.values():
        if isinstance(trial.problem, UNREADABLE):
            raise _with_way_out(trial.problem, sources)


def _with_way_out(problem: UnidiffError, sources: Sources) -> UnidiffError:
    """The problem of a table, with how to read the images without it."""
    action = f"{problem.action} {BUT_FOLDER}" if sources.images else problem.action
    return type(problem)(problem.fact, action.strip())


def _without_twins(
    names: list[str],
    families: dict[str, Members],
    tried: dict[str, Trial],
    opener: Opener,
    result: Tables,
) -> list[str]:
    """One of each two families such as metadata.csv and metadata.jsonl."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[table_names.stem(name)].append(name)
    kept = []
    for group in groups.values():
        first, *rest = sorted(group, key=_preference)
        kept.append(first)
        path = families[first][0][0]
        for other in rest:
            twin = families[other][0][0]
            if tried[first].problem or tried[other].problem:
                result.unread.append(twin)
            elif rows_of(opener(tried[first].table)) == rows_of(opener(tried[other].table)):
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
    ending = table_names.ending(name)
    return PREFERRED.index(ending) if ending in PREFERRED else len(PREFERRED)


def _parts(members: Members, sources: Sources, opener: Opener) -> Tables:
    """The tables of one family, each with the folder of its images and its split.

    One without captions is not read where others have them, and named.
    """
    result = Tables()
    trials = [try_table(table, sources, opener) for _, table in members]
    some_have = any(not trial.problem for trial in trials)
    kept: Members = []
    for (path, table), trial in zip(members, trials, strict=True):
        if isinstance(trial.problem, WithoutCaptions) and some_have:
            result.unread.append(path)
            continue
        if trial.problem:
            raise trial.problem
        kept.append((path, table))
    trials = [trial for trial in trials if not trial.problem]
    members, paths = kept, [path for path, _ in kept]
    for (_, table), trial, split in zip(members, trials, table_names.splits_of(paths), strict=True):
        result.parts.append((trial.table, split))
        base = trial.table.parent.relative_to(sources.root)
        if "/" in sources.path(table) and len(members) == 1:
            place = "the catalogue's folder" if base == "." else base
            result.lines.append(f"{sources.path(table)}: image paths start in {place}")
    if missing := table_names.missing_shards(paths):
        result.doubts.append(
            Doubt(
                f"{len(missing):,} shards are missing, such as {missing[0]}.",
                "Download them, or accept that they are not read with --yes.",
                stops=True,
            )
        )
    if len(paths) > 1:
        result.lines.append(f"{len(paths):,} tables read together: {_listed(paths)}")
        if table_names.is_guess(paths):
            result.doubts.append(
                Doubt(
                    f"{_listed(paths)} are read together: their names differ in numbers only.",
                    f"Name those that are meant: --set 'prepare.tables=[{paths[-1]}]'",
                    stops=True,
                )
            )
    return result


def _listed(paths: Iterable[str]) -> str:
    paths = list(paths)
    return ", ".join(paths[:NAMED]) + (", …" if len(paths) > NAMED else "")
