"""Files that may be texts or classes of images: read by their names, or asked about."""

import json
import time
import unicodedata

import pytest

from tests.support.catalogue import put
from tests.support.reading import facts, read, read_all
from tests.support.sidecars import DRESSES, captions, write
from unidiff_cli.config.prepare import Limits
from unidiff_cli.data.locations import locate
from unidiff_cli.data.readers.folders import unnoticed
from unidiff_cli.data.readers.folders.class_names import is_code
from unidiff_cli.errors import UsageError

# ---------------------------------------------------------------- names of texts

NAMES = [
    "p{n}.txt.txt",
    "p{n}.jpg.txt.txt",
    "p{n}_caption.txt",
    "p{n}-caption.txt",
    "p{n}.caption.txt",
    "p{n}_Prompt.txt",
    "caption_p{n}.txt",
    "p{n}_captions.TXT",
]


@pytest.mark.parametrize("name", NAMES)
def test_texts_with_other_names_are_read(tmp_path, name):
    write(tmp_path / "dress", "red dress {n}", name)
    reader, samples, rejected = read_all(tmp_path)
    assert captions(samples) == DRESSES and not rejected and not facts(reader)


def test_a_text_belongs_to_the_image_of_its_whole_name(tmp_path):
    for name in ("a", "a_caption"):
        put(tmp_path / f"{name}.jpg")
    put(tmp_path / "a_caption.txt", "a poster")
    put(tmp_path / "a.txt", "a dress")
    samples, _ = read(tmp_path)
    assert {s.row: s.captions[0] for s in samples} == {
        "a.jpg": "a dress",
        "a_caption.jpg": "a poster",
    }


@pytest.mark.parametrize("of_image, of_text", [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("place", ["dress/robe_é.txt", "captions/robe_é.txt"])
def test_names_are_compared_as_unicode_does(tmp_path, of_image, of_text, place):
    put(tmp_path / unicodedata.normalize(of_image, "dress/robe_é.jpg"))
    put(tmp_path / unicodedata.normalize(of_text, place), "a robe")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == [("a robe",)] and not facts(reader)


def test_an_ending_that_no_text_has_is_refused(tmp_path):
    write(tmp_path / "dress", "red dress {n}")
    with pytest.raises(UsageError) as caught:
        read(tmp_path, sidecar_ending="caption")
    assert ".txt (4)" in str(caught.value)


# ---------------------------------------------------------------- files that are not read

UNREAD = [
    "dress/p{n}.yaml",
    "dress/p{n}.jpg.xmp",
    "dress/p{n}.md",
    "dress/p{n}.html",
    "dress/p{n}_blip.txt",
    "dress/p{n}.desc",
    "meta/deep/p{n}.docx",
    "notes/of/p{n}.txt",
]


@pytest.mark.parametrize("name", UNREAD)
def test_files_with_the_names_of_images_are_asked_about(tmp_path, name):
    write(tmp_path / "dress", "red dress {n}", f"../{name}")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == [("a photo of dress",)] * 4
    assert "4 files such as" in facts(reader, True)
    assert "have the names of images (p0.jpg) and are not read" in facts(reader, True)


@pytest.mark.parametrize("name", ["p{n}.npz", "p{n}.MOV", "p{n}.cr2", "q{n}.yaml"])
def test_other_files_beside_images_are_no_texts(tmp_path, name):
    write(tmp_path / "dress", "red dress {n}", name)
    assert not facts(read_all(tmp_path)[0])


def test_beside_images_with_texts_other_files_are_no_doubt(tmp_path):
    write(tmp_path, "red dress {n}")
    write(tmp_path, "rating: 5", "p{n}.yaml")
    assert not facts(read_all(tmp_path)[0])


ABOUT = [
    "{folder}/description.txt",
    "{folder}/info.json",
    "{folder}/{folder}.txt",
    "{folder}.txt",
    "{folder}/Beschreibung.docx",
    "{folder}/text of {folder} here.html",
]


@pytest.mark.parametrize("name", ABOUT)
def test_a_text_for_each_folder_is_asked_about(tmp_path, name):
    for folder in ("red dress", "blue hat", "green bag"):
        put(tmp_path / folder / "1.jpg")
        put(tmp_path / folder / "2.jpg")
        put(tmp_path / name.format(folder=folder), json.dumps({"title": f"the {folder}"}))
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 6
    assert "3 of 3 folders of images have a file such as" in facts(reader, True)


def test_a_text_above_a_folder_of_images_is_asked_about(tmp_path):
    for folder in ("red dress", "blue hat"):
        put(tmp_path / folder / "images" / "1.jpg")
        put(tmp_path / folder / "info.txt", f"the {folder}")
    assert "2 of 2 folders of images" in facts(read_all(tmp_path)[0], True)


@pytest.mark.parametrize(
    "name, text", [("multiply.txt", "2"), ("README.md", "x"), ("LICENSE", "x")]
)
def test_notes_of_folders_are_no_captions(tmp_path, name, text):
    for folder in ("dress", "hat"):
        put(tmp_path / folder / "1.jpg")
        put(tmp_path / folder / name, text)
    assert not facts(read_all(tmp_path)[0])


# ---------------------------------------------------------------- names of tables

TABLES = [
    "captions.yaml",
    "metadata.arrow",
    "captions.sqlite",
    "catalog.dat",
    "products_2024.numbers",
    "shop_export.sql",
    "annotations.pkl",
    "labels.yml",
    "captions.txt",
    "captions.xml",
    "sortiment.csv.bak",
]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_by_its_name_is_asked_about(tmp_path, name):
    put(tmp_path / "dress" / "a.jpg")
    put(tmp_path / name, b"what is in it")
    assert f"{name}: a table by its name" in facts(read_all(tmp_path)[0], True)


@pytest.mark.parametrize(
    "name", ["catalog.csv.xz", "sortiment.tsv.bz2", "a.jsonl.zst", "captions.7z"]
)
def test_a_packed_table_is_to_be_unpacked(tmp_path, name):
    put(tmp_path / "dress" / "a.jpg")
    put(tmp_path / name, b"packed")
    assert f"{name}: packed in a way that is not read" in facts(read_all(tmp_path)[0], True)


@pytest.mark.parametrize("name", ["captions.py", "labels.txt", "products.pdf", "notes.yaml"])
def test_other_names_are_no_tables(tmp_path, name):
    put(tmp_path / "dress" / "a.jpg")
    put(tmp_path / name, b"x")
    assert not facts(read_all(tmp_path)[0])


@pytest.mark.parametrize("name, mark", [("export.tab", "\t"), ("shop.psv", "|"), ("a.TAB", "\t")])
def test_other_endings_of_tables_are_read(tmp_path, name, mark):
    put(tmp_path / "dress" / "a.jpg")
    put(tmp_path / name, f"image{mark}caption\ndress/a.jpg{mark}red, long dress\n")
    assert captions(read(tmp_path)[0]) == [("red, long dress",)]


# ---------------------------------------------------------------- classes

FOLDERS = ("0", "1", "2")
CLASSES = {
    "code to name": ("classes.json", '{"0": "dress", "1": "hat", "2": "bag"}'),
    "name to code": ("class_to_idx.json", '{"dress": 0, "hat": 1, "bag": 2}'),
    "a list": ("labels.json", '["dress", "hat", "bag"]'),
    "a name a line": ("labels.txt", "dress\nhat\nbag\n"),
    "code and name a line": ("label_map.txt", "2 bag\n0 dress\n1 hat\n"),
    "objects": ("categories.json", '[{"id": %d, "name": "%s"}]'),
    "ImageNet's index": ("class_index.json", '{"0": ["n1", "dress"], "1": ["n2", "hat"], '
                         '"2": ["n3", "bag"]}'),
}  # fmt: skip


@pytest.mark.parametrize("case", CLASSES)
def test_classes_of_numbers_get_their_names(tmp_path, case):
    name, text = CLASSES[case]
    if case == "objects":
        named = zip(FOLDERS, ("dress", "hat", "bag"), strict=True)
        text = json.dumps([{"id": int(code), "name": word} for code, word in named])
    for folder in FOLDERS:
        put(tmp_path / folder / "a.jpg")
    put(tmp_path / name, text)
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == [(f"a photo of {word}",) for word in ("dress", "hat", "bag")]
    assert samples[1].attributes["class"] == "hat"
    assert reader.decisions()["names of classes"] == name and not facts(reader, True)


def test_a_table_of_classes_is_read_where_the_folder_is(tmp_path):
    for folder in FOLDERS:
        put(tmp_path / folder / "a.jpg")
    put(tmp_path / "classes.csv", "id,name\n0,dress\n1,hat\n2,bag\n")
    samples, _ = read(tmp_path, reader="folder")
    assert captions(samples) == [(f"a photo of {word}",) for word in ("dress", "hat", "bag")]


def test_synsets_and_numbers_from_one(tmp_path):
    for folder in ("n01", "n02"):
        put(tmp_path / folder / "a.jpg")
    put(tmp_path / "synset_words.txt", "n01 evening dress\nn02 straw hat\n")
    assert captions(read(tmp_path)[0]) == [("a photo of evening dress",), ("a photo of straw hat",)]


CODES = [("0", "1"), ("n01440764", "n01443537"), ("B00A01", "B00A02"), ("SKU_1", "SKU_2"),
         ("class_0", "class_1"), ("a3f9c2de", "b3f9c2d1"), ("A", "B")]  # fmt: skip


@pytest.mark.parametrize("folders", CODES)
def test_classes_of_codes_are_asked_about(tmp_path, folders):
    for folder in folders:
        put(tmp_path / folder / "a.jpg")
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 2
    words = facts(reader, True)
    assert "Folders have numbers or codes as names: 2" in words and "a photo of" in words


LISTS = ["a.jpg 0\nb.jpg 1\nc.jpg 2", "dress 0\nhat 1\nbag 2\nshoe 2", "10 0\n20 1\n30 2"]


@pytest.mark.parametrize("text", LISTS)
def test_lines_about_images_name_no_classes(tmp_path, text):
    for folder in FOLDERS:
        put(tmp_path / folder / "a.jpg")
    put(tmp_path / "labels.txt", text)
    assert "3 folders such as '0' have codes as names" in facts(read_all(tmp_path)[0], True)


@pytest.mark.parametrize("text", ["dress\nhat\n", '{"0": "dress"}', "dress\ndress\ndress\n", "["])
def test_a_file_that_does_not_name_all_classes_is_not_used(tmp_path, text):
    for folder in FOLDERS:
        put(tmp_path / folder / "a.jpg")
    put(tmp_path / "classes.txt", text)
    put(tmp_path / "classes.json", text)
    assert "3 folders such as '0' have codes as names" in facts(read_all(tmp_path)[0], True)


def test_files_that_name_classes_otherwise_are_asked_about(tmp_path):
    for folder in FOLDERS:
        put(tmp_path / folder / "a.jpg")
    put(tmp_path / "classes.txt", "dress\nhat\nbag")
    put(tmp_path / "labels.txt", "bag\nhat\ndress")
    assert "name the classes otherwise" in facts(read_all(tmp_path)[0], True)


@pytest.mark.parametrize("name", ["dress", "t-shirt", "hat_01", "платье 1", "3 piece suits", "裙"])
def test_words_are_no_codes(name):
    assert not is_code(name)


# ---------------------------------------------------------------- many folders


def facts_of(files: list[str], folders: list[str]) -> list[str]:
    """What is asked about files beside and above folders of an image each."""
    top = locate("/catalogue")
    images = [top.child(f"{folder}/photo.jpg") for folder in folders]
    return [d.fact for d in unnoticed.doubts(map(top.child, files), images, Limits())]


def test_a_file_beside_each_of_many_folders_is_noticed_in_time():
    start = time.process_time()
    folders = [f"shirt/B{n}" for n in range(2000)]
    (fact,) = facts_of([f"{folder}.md" for folder in folders], [*folders, "pants/C0"])
    assert "2,000 of 2,001 folders" in fact and "B0/B0.md" in fact
    assert time.process_time() - start < 4


def test_a_file_above_several_folders_counts_for_each():
    (fact,) = facts_of(["shirt/x.md", "pants/x.md"], ["shirt/1", "shirt/2", "pants/3", "hat/4"])
    assert "3 of 4 folders" in fact and "1/x.md" in fact
    # What lies in a folder too counts once; what has a folder's name is about that one.
    files, folders = ["shirt/x.md", "shirt/x/x.md"], ["shirt/1", "shirt/2", "shirt/x", "hat/4"]
    (fact,) = facts_of(files, folders)
    assert "2 of 4 folders" in fact
