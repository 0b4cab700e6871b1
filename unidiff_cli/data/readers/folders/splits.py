"""Splits that are folders: train/dress/a.jpg, shop/test/dress/a.jpg, dress/val/a.jpg.

The folders of all images decide together. A depth at which all folders are words of splits gives
them; where only some are, as a class `train` among vehicles, a person is asked.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.split_words import SPLITS, folded, is_weak, setting

Folders = tuple[str, ...]
# Words that may stand beside that of a split: train_images, test_set.
FILLERS = frozenset(
    """
    set sets split splits image images imgs img photo photos picture pictures pic pics jpg jpgs
    data dataset datasets folder folders files
    """.split()
)
# Words that are hardly anything else where train and one of the others occur.
_TRAIN = frozenset("train training trainval".split())
_HELD_OUT = frozenset("val valid validation test testing eval evaluation holdout".split())
# Folders that are named in a doubt.
NAMED = 4
NO = "--set prepare.columns.split=''"
_WORDS = re.compile(r"[^\W\d_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


class FolderSplits:
    """The split of an image by its folders, without those that are never a class.

    `depth` is that of the folders that are splits, None where there is none. `words` are those of
    `prepare.split_words`, in lower case. With `is_off` (`prepare.columns.split: ''`) no folder
    gives a split; one that surely names one is still no class.
    """

    def __init__(
        self, paths: Iterable[Folders], words: Mapping[str, str] | None = None, is_off: bool = False
    ) -> None:
        self.is_off = is_off
        self.depth: int | None = None
        # How many folders in a row say the same: seg_train/seg_train/dress.
        self._length = 1
        self._given = dict(words or {})
        # Folders at that depth -> their splits; and those that name none -> how many images.
        self.splits: dict[str, str] = {}
        self._others: Counter[str] = Counter()
        # The words of a depth that may also be classes.
        self._unclear: dict[str, str] = {}
        self._counts = Counter(paths)
        self._choose()

    def of(self, folders: Sequence[str]) -> tuple[str | None, list[str]]:
        """The split of an image and its other folders."""
        rest = list(folders)
        if self.depth is None:
            return None, rest
        name = rest[self.depth] if self.depth < len(rest) else ""
        split = self.splits.get(name) or self._word(name)
        if split is None:
            return ("train" if self._has_several and not self.is_off else None), rest
        del rest[self.depth : self.depth + self._length]
        # Nobody but a person knows that such a folder is a class.
        if self.is_off and not rest:
            return None, list(folders)
        return (None if self.is_off else split), rest

    def unknown(self, folders: Sequence[str]) -> str:
        """A folder of a depth of splits that was not looked at and names none; "" else."""
        if self.depth is None or self.is_off or self.depth >= len(folders):
            return ""
        name = folders[self.depth]
        is_known = name in self.splits or name in self._others or self._word(name)
        return "" if is_known else name

    def describe(self) -> list[str]:
        if self.depth is None or self.is_off:
            return []
        named = [f"{name} ({split})" for name, split in sorted(self.splits.items())]
        return [f"splits by folders: {_named(named, ', ')}"]

    def doubts(self) -> Iterator[Doubt]:
        """Folders of which some are words of splits, and others are not."""
        if self.is_off or not self._unclear or self._is_said(self._unclear):
            return
        words = sorted(self._unclear)
        named = _named([f"'{word}'" for word in words], ", ")
        beside = [name for name, _ in self._others.most_common(NAMED) if name]
        others = _named([f"'{name}'" for name in beside], ", ") or "images without such a folder"
        count = self._others.total()
        if self.depth is None:
            yield Doubt(
                f"Folders named {named} lie beside {others}: they may be splits or classes. They "
                "are read as classes.",
                f"If a split is meant: {setting(words[0], self._unclear[words[0]])}. If not: {NO}",
                stops=True,
            )
            return
        kind = "as of train" if self._has_several else "as of no split"
        yield Doubt(
            f"Folders named {named} are read as splits, but {others} beside them name none; "
            f"{count:,} images there are read {kind}.",
            f"Say what each folder is: {setting((*beside, words[0])[0], 'train')}. "
            f"If none is a split: {NO}",
            stops=True,
        )

    @property
    def _has_several(self) -> bool:
        return len(set(self.splits.values())) > 1

    # ---- which depth

    def _choose(self) -> None:
        depths = range(max(map(len, self._counts), default=0))
        found = [(depth, self._words_at(depth)) for depth in depths]
        found = [(depth, splits) for depth, splits in found if splits]
        whole = [(d, s) for d, s in found if self._rest(d, s).total() == 0]
        several = [(d, s) for d, s in whole if len(set(s.values())) > 1]
        said = [(d, s) for d, s in found if self._is_said(s)]
        likely = [(d, s) for d, s in found if self._is_likely(d, s)]
        chosen = next(iter([*several, *said, *likely, *whole]), None)
        if chosen:
            self.depth, self.splits = chosen
            self._others = self._rest(*chosen)
            self._unclear = self.splits if self._others else {}
            if self.is_off and self._others:
                self.depth = None
            after = dict(found).get(self.depth + 1) if self.depth is not None else None
            if after and self._repeats(chosen[0], after):
                self._length = 2
        elif found:
            depth, self._unclear = found[0]
            self._others = self._rest(depth, self._unclear)

    def _words_at(self, depth: int) -> dict[str, str]:
        """The folders of a depth that are words of splits, and what they name."""
        names = {path[depth] for path in self._counts if depth < len(path)}
        parts = {name: found for name in names if (found := _parts(name))}
        splits_of: dict[str, set[str]] = defaultdict(set)
        for split, rest in parts.values():
            splits_of[rest].add(split)
        splits = {
            name: split
            for name, (split, rest) in parts.items()
            # seg_train has a word more, but so has seg_test.
            if not rest or len(splits_of[rest]) > 1
        }
        if all(map(is_weak, splits)) and len(splits) < 2:
            splits = {}
        return splits | {n: self._given[_key(n)] for n in names if _key(n) in self._given}

    def _rest(self, depth: int, splits: Collection[str]) -> Counter[str]:
        """The other folders of a depth, "" for none, and their images."""
        rest: Counter[str] = Counter()
        for path, count in self._counts.items():
            name = path[depth] if depth < len(path) else ""
            if name not in splits:
                rest[name] += count
        return rest

    def _is_said(self, splits: Iterable[str]) -> bool:
        """Whether a person named one of these folders."""
        return any(_key(name) in self._given for name in splits)

    def _is_likely(self, depth: int, splits: Mapping[str, str]) -> bool:
        """Whether words that only some folders have are splits rather than classes."""
        first = {word for name in splits for word in _words(name)}
        is_pair = bool(first & _TRAIN and first & _HELD_OUT)
        covered = self._counts.total() - self._rest(depth, splits).total()
        if is_pair and 2 * covered >= self._counts.total():
            return True
        # A split holds folders of classes; a class holds images.
        inside = [path for path in self._counts if depth < len(path) and path[depth] in splits]
        return all(len(path) > depth + 1 for path in inside)

    def _repeats(self, depth: int, after: Mapping[str, str]) -> bool:
        """Whether the next folder of every image says the same split again."""
        return all(
            len(path) > depth + 1
            and path[depth] in self.splits
            and after.get(path[depth + 1]) == self.splits[path[depth]]
            for path in self._counts
        )

    def _word(self, name: str) -> str | None:
        """The split of a folder that was not looked at."""
        found = _parts(name)
        return self._given.get(_key(name)) or (found[0] if found and not found[1] else None)


def _words(name: str) -> list[str]:
    return _WORDS.findall(folded(_HUMP.sub("_", name)))


def _parts(name: str) -> tuple[str, str] | None:
    """The split that a folder's first or last words name, and its other words."""
    words = [_bare(word) for word in _words(name)]
    for count in (2, 1):
        for place in (slice(0, count), slice(max(0, len(words) - count), None)):
            if split := SPLITS.get("_".join(words[place])):
                del words[place]
                rest = [word for word in words if word not in FILLERS and word not in SPLITS]
                return split, " ".join(rest)
    return None


def _bare(word: str) -> str:
    """train of trainset and trainimages."""
    for split in SPLITS:
        if word.startswith(split) and word[len(split) :] in FILLERS:
            return split
    return word


def _key(name: str) -> str:
    return name.strip().lower()


def _named(items: Sequence[str], between: str) -> str:
    return between.join(items[:NAMED]) + (", …" if len(items) > NAMED else "")
