"""The words by which catalogues name train, val and test, in several languages."""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Iterable

# In lower case, without accents, words joined by "_".
_TRAIN = """
    train training trainval train_dev restval seen trainset trainingset traindata trainingdata
    trainingsdaten trainingsset trainingssatz entrainement apprentissage entrenamiento
    addestramento allenamento treinamento treino trening treningowy treningowa treningowe uczacy
    uczaca uczace
"""
_VAL = """
    val valid validation validate minival dev development valset validset validationset
    validierung validierungsdaten validierungsset validacion validazione convalida validacao
    validatie walidacja walidacyjny walidacyjna walidacyjne
"""
_TEST = """
    test tests testing testset testdata testdev test_dev devtest dev_test eval evaluation holdout
    hold_out heldout held_out unseen query gallery testdaten testsatz prufung pruefung prufdaten
    pruefdaten essai prueba pruebas evaluacion prova valutazione teste testes avaliacao proef
    testowy testowa testowe
"""
SPLITS = {
    **dict.fromkeys(_TRAIN.split(), "train"),
    **dict.fromkeys(_VAL.split(), "val"),
    **dict.fromkeys(_TEST.split(), "test"),
}
# Words of a kind of rows: seen_test is a test, whatever was seen.
_KINDS = frozenset(("seen", "unseen"))
# Words around the one that counts: "Test set", "jeu d'entraînement", "conjunto de prueba".
_FILLERS = frozenset(
    """
    set sets split data dataset subset jeu ensemble donnees conjunto datos dados insieme dati
    zbior danych satz daten menge de d des du do dos di dei
    """.split()
)
# What stands for a split in a column such as Train/Test.
_SHORT = {
    **dict.fromkeys(("tr", "trn"), "train"),
    **dict.fromkeys(("va", "vl"), "val"),
    **dict.fromkeys(("te", "ts", "tst"), "test"),
}
# Words of other things too: a gallery of photos, what a visitor has seen, a developer's folder.
# They name splits where a sure word stands beside them.
WEAK = frozenset("query gallery seen unseen dev development essai proef prova".split())
_PARTS = re.compile(r"[a-z]+|\d+")
_YES = frozenset("1 true yes y t 1.0 ja oui si sim tak".split())
_NO = frozenset("0 false no n f 0.0 nein non nee nao nie".split())
_LETTERS = str.maketrans({"ł": "l", "ß": "ss", "ø": "o", "æ": "ae"})


def folded(text: str) -> str:
    """A text in lower case without accents."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def whole_split(text: str) -> str | None:
    """The split that a whole text names, such as `Training`; None for `training shoes`."""
    return SPLITS.get(folded(text).strip())


def split_of(value: str, column: str = "") -> str | None:
    """The split that a word of a catalogue names; None where it is not understood.

    A word of several parts is what its first part says: `test_unseen` is test. One whose parts
    name unlike splits, such as `train+val`, is not understood. Yes and no (also 1 and 0) say
    something in a column whose own name does, such as `is_test`; what is not held out is train,
    and what is not train is test.
    """
    parts = [part for part in _PARTS.findall(folded(value)) if not part.isdigit()]
    word = "_".join(parts)
    if split := SPLITS.get(word):
        return split
    word = word.replace("hold_out", "holdout").replace("held_out", "heldout")
    parts = [part for part in word.split("_") if part not in _FILLERS]
    if parts and parts[0] in SPLITS:
        named = splits_in(parts)
        return named.pop() if len(named) == 1 else None
    if names_several(column) and (split := _SHORT.get(folded(value).strip())):
        return split
    asked, answer = split_named(column), folded(value).strip()
    if asked is None or answer not in _YES | _NO:
        return None
    return asked if answer in _YES else {"train": "test"}.get(asked, "train")


def splits_in(words: Iterable[str]) -> set[str]:
    """The splits that some words name: of `seen test` it is test alone."""
    known = [word for word in words if word in SPLITS]
    return {SPLITS[word] for word in known if word not in _KINDS} or {
        SPLITS[word] for word in known
    }


def is_answer(value: str) -> bool:
    """Whether a word is a yes or a no."""
    return folded(value).strip() in _YES | _NO


def split_named(column: str) -> str | None:
    """The split that a column's name asks about, such as `is_test`; None for none or several."""
    parts = _name_parts(column)
    if names_several(column):
        return None
    words = ["_".join(parts), "_".join(parts[-2:]), *reversed(parts)]
    return next((SPLITS[word] for word in words if word in SPLITS and word not in WEAK), None)


def is_weak(text: str) -> bool:
    """Whether the words of a text name a split only beside surer ones."""
    named = [part for part in _name_parts(text) if part in SPLITS]
    return bool(named) and WEAK.issuperset(named)


def setting(word: str, split: str) -> str:
    """How a person says which split a word names, ready for a shell."""
    # `--set` takes the dots of a key for levels.
    text = f"prepare.split_words={{{json.dumps(word)}: {split}}}" if "." in word else ""
    return f"--set {shlex.quote(text or f'prepare.split_words.{word}={split}')}"


def names_several(column: str) -> bool:
    """Whether a column's name says that it tells splits apart: `Train/Test`."""
    return len({SPLITS[part] for part in _name_parts(column) if part in SPLITS}) > 1


def _name_parts(column: str) -> list[str]:
    return _PARTS.findall(folded(re.sub(r"([a-z])([A-Z])", r"\1_\2", column)))
