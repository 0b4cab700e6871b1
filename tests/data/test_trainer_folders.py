"""Folders as kohya's and DreamBooth's trainers have them: counts, regularization, previews."""

import pytest

from tests.support.catalogue import put
from tests.support.reading import facts, read_all
from unidiff_cli.data.readers.folders.classes import PREVIEWS, REGULARIZATION, REPEATED, UNCLEAR


def put_all(folder, *names) -> None:
    for name in names:
        put(folder / name)


def captions(samples) -> set[str]:
    return {caption.removeprefix("a photo of ") for s in samples for caption in s.captions}


KOHYA = ["img/10_sks dress/0.png", "img/5_sks shirt/1.png"]
PREVIEWED = ["sample/e0.png", "img/samples/e0.png", "log/x/a.png", "model/sample/lora.png"]
REG = [
    "reg/1_dress/0.png", "regularization images/1_dress/0.png", "1_reg/0.png", "reg images/0.png",
    "class images/1_dress/0.png", "class/1_dress/0.png", "classes/1_dress/0.png",
    "regularisation_data/1_dress/0.png", "Reg-Images/1_dress/0.png",
]  # fmt: skip


@pytest.mark.parametrize("name", PREVIEWED + REG)
def test_what_lies_beside_kohyas_folders_is_left_out_and_counted(tmp_path, name):
    put_all(tmp_path, *KOHYA, name)
    reader, samples, rejected = read_all(tmp_path)
    assert captions(samples) == {"sks dress", "sks shirt"} and not rejected
    note = PREVIEWS if name in PREVIEWED else REGULARIZATION
    assert reader.notes == {REPEATED: 2, note: 1} and not facts(reader)


UNKNOWN = {"backup/c.png": "backup", "another/1_dress/c.png": "1 dress", "hats/c.png": "hats"}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_folder_beside_them_is_asked_for(tmp_path, name):
    put_all(tmp_path, *KOHYA, name)
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 3 and name.rpartition("/")[0] in facts(reader, stops=True)
    reader, samples, _ = read_all(tmp_path, companions="keep")
    assert len(samples) == 3 and not facts(reader)
    reader, samples, _ = read_all(tmp_path, companions="leave_out")
    assert captions(samples) == {"sks dress", "sks shirt"} and reader.notes[UNCLEAR] == 1


def test_previews_with_a_text_are_products(tmp_path):
    put_all(tmp_path, *KOHYA, "sample/a.png")
    put(tmp_path / "sample/a.txt", "a red hat")
    assert "a red hat" in {s.captions[0] for s in read_all(tmp_path)[1]}


def test_a_catalogue_of_such_names_only_is_what_it_is_of(tmp_path):
    put_all(tmp_path, "classes/10_dress/a.png", "classes/5_hat/b.png")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == {"dress", "hat"} and reader.notes == {REPEATED: 2}


def test_names_of_trainers_are_classes_elsewhere(tmp_path):
    put_all(tmp_path, "sample/a.png", "models/b.png", "class/c.png", "dress/d.png")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == {"sample", "models", "class", "dress"} and not reader.notes


def test_regularization_images_without_repeat_counts(tmp_path):
    put_all(tmp_path, "dress/a.png", "regularization/b.png")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == {"dress"} and reader.notes == {REGULARIZATION: 1}
    put_all(tmp_path, "reg/c.png")
    assert "1 of 3 images lie in reg" in facts(read_all(tmp_path)[0], stops=True)


def test_a_year_is_no_repeat_count(tmp_path):
    put_all(tmp_path, "2021_summer dress/a.png", "1999_coat/b.png")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == {"2021 summer dress", "1999 coat"} and not reader.notes
    put_all(tmp_path, "5_jeans/c.png", "90_tights/d.png", "40_socks/e.png")
    reader, samples, _ = read_all(tmp_path)
    assert "2021 summer dress" in captions(samples)
    assert "1999_coat, 2021_summer dress beside 40_socks" in facts(reader, stops=True)


def test_as_many_numbers_as_words_are_asked_for(tmp_path):
    put_all(tmp_path, "3_piece suits/a.jpg", "dress/b.jpg")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == {"3 piece suits", "dress"} and facts(reader, stops=True)
    assert captions(read_all(tmp_path, companions="leave_out")[1]) == {"piece suits"}
    put_all(tmp_path, "hat/c.jpg")
    assert not facts(read_all(tmp_path)[0])


DREAMBOOTH = [
    ("instance_images", "class_images"), ("instance images", "class-images"),
    ("Instance-Data", "class_data"), ("instance", "class"), ("subject_images", "reg"),
]  # fmt: skip


@pytest.mark.parametrize("instances, classes", DREAMBOOTH)
def test_dreambooth_is_asked_what_its_images_show(tmp_path, instances, classes):
    put_all(tmp_path, f"{instances}/a.png", f"{classes}/b.png", f"{classes}/c.png")
    reader, samples, rejected = read_all(tmp_path)
    assert not samples and len(rejected) == 1 and reader.notes == {REGULARIZATION: 2}
    assert f"'{instances}' is DreamBooth's" in facts(reader, stops=True)
    reader, samples, _ = read_all(tmp_path, caption="a photo of sks dress")
    assert captions(samples) == {"sks dress"} and not facts(reader)
    put(tmp_path / instances / "a.txt", "a red dress")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == {"a red dress"} and not facts(reader)


def test_dreambooth_with_classes_below_has_them(tmp_path):
    put_all(tmp_path, "instance_images/red dress/a.png", "class_images/dress/b.png")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == {"red dress"} and not facts(reader)


@pytest.mark.parametrize("names", [["501_jeans", "700_hat"], ["20_denier", "40_denier", "10_hat"]])
def test_numbers_of_names_are_no_repeat_counts(tmp_path, names):
    for name in names:
        put(tmp_path / name / "a.jpg")
    samples = read_all(tmp_path, companions="keep")[1]
    assert {s.captions[0] for s in samples} == {
        f"a photo of {name.replace('_', ' ')}" for name in names
    }
