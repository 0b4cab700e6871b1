"""Which reader reads a catalogue."""

import tarfile

import pytest

from tests.support.catalogue import put
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.readers.folder import Folder
from unidiff_cli.data.readers.table import Table
from unidiff_cli.data.readers.webdataset import Webdataset
from unidiff_cli.errors import UsageError


def test_a_table_wins_then_tars_then_a_folder(tmp_path):
    put(tmp_path / "a.jpg")
    assert isinstance(readers.choose(tmp_path, Prepare()), Folder)
    with tarfile.open(tmp_path / "x.tar", "w"):
        pass
    assert isinstance(readers.choose(tmp_path, Prepare()), Webdataset)
    put(tmp_path / "x.parquet", b"img2dataset writes these beside its tars")
    assert isinstance(readers.choose(tmp_path, Prepare()), Webdataset)
    put(tmp_path / "catalog.csv", "image,caption\na.jpg,red\n")
    assert isinstance(readers.choose(tmp_path, Prepare()), Table)


def test_a_named_reader_is_taken(tmp_path):
    put(tmp_path / "a.jpg")
    put(tmp_path / "catalog.csv", "image,caption\na.jpg,red\n")
    assert isinstance(readers.choose(tmp_path, Prepare(reader="folder")), Folder)


def test_a_catalogue_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="no catalogue at .*nothing"):
        readers.choose(tmp_path / "nothing", Prepare())


def test_what_no_reader_accepts_is_named(tmp_path):
    with pytest.raises(UsageError, match="nothing unidiff can read"):
        readers.choose(put(tmp_path / "a.docx", b"x"), Prepare())


def test_of_several_tables_one_must_be_named(tmp_path):
    for name in ("one.csv", "two.csv"):
        put(tmp_path / name, "image,caption\na.jpg,red\n")
    with pytest.raises(UsageError, match="several tables: one.csv, two.csv"):
        readers.choose(tmp_path, Prepare())


def test_a_misspelt_reader_gets_the_nearest_name(tmp_path):
    with pytest.raises(UsageError, match="no reader named 'tabel'. Did you mean 'table'"):
        readers.choose(tmp_path, Prepare(reader="tabel"))
