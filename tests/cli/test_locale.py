"""The command in locales that are not UTF-8, where Python cannot name every file by itself."""

import os
import subprocess
import sys
import unicodedata

import pytest

from tests.support.catalogue import encoded, photo, put
from unidiff_cli.cli.utf8 import as_utf8

COMMAND = [sys.executable, "-P", "-m", "unidiff_cli.cli"]
NAMES = ["größe.jpg", "👗.jpg", "赤い ドレス.jpg", "q?mark #1.jpg", "line\nbreak.jpg", "[a].jpg"]


def in_ascii(folder, *arguments):
    """The command in the locale C, without Python's own way around it."""
    encoding = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        capture_output=True,
        timeout=120,
        env={**os.environ, **encoding, "OMP_NUM_THREADS": "1"},
    )
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_a_catalogue_of_odd_names_is_prepared_whole(tmp_path):
    rows = ["image,caption"]
    for n, name in enumerate(NAMES):
        # A Mac writes ö as two characters, and a table has one.
        put(tmp_path / "shop" / unicodedata.normalize("NFD", name), encoded(photo(n)))
        rows.append(f'"{name}",Kleid «schön» {n}')
    put(tmp_path / "shop" / "catalog.csv", "\n".join(rows) + "\n")
    code, out, err = in_ascii(tmp_path, "prepare", "shop", "--set", "prepare.workers=1")
    assert code == 0 and "6 samples in 6 groups" in out, err
    assert "Kleid «schön» 0" in err
    code, out, _ = in_ascii(tmp_path, "status", "--json")
    assert code == 0 and "6 samples" in out


@pytest.mark.parametrize("command", ["retrieve", "generate"])
def test_a_text_in_any_letters_is_a_text(tmp_path, command):
    code, _, err = in_ascii(tmp_path, command, "crème 赤いドレス 👗")
    assert code == 1 and "Run: unidiff" in err, err


def test_bytes_that_are_no_text_are_one_sentence(tmp_path):
    code, out, err = in_ascii(tmp_path, "retrieve", b"cr\xe8me")
    assert (code, out) == (2, "") and r"cr\xe8me holds bytes that are no UTF-8" in err


def test_arguments_of_another_encoding_are_brought_to_utf_8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / os.fsdecode(b"caf\xe9")).touch()
    typed = [b"cr\xe8me", "größe".encode(), b"caf\xe9", b"dress"]
    given = [data.decode("latin-1") for data in typed]
    expected = ["crème".encode(), "größe".encode(), b"caf\xe9", b"dress"]
    assert as_utf8(given, "latin-1") == expected


def test_bytes_that_an_encoding_does_not_hold_stay(tmp_path):
    given = [b"cr\xe8me".decode("ascii", "surrogateescape"), "платье".encode("cp1251")]
    given[1] = given[1].decode("cp1251")
    assert as_utf8(given[:1], "ascii") == [b"cr\xe8me"]
    assert as_utf8(given[1:], "cp1251") == ["платье".encode()]
