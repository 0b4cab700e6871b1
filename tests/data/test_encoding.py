"""Letters: detected where they can be, doubted where not, set by name, and never broken quietly."""

import codecs
import gzip
from pathlib import Path

import pytest

from tests.support.catalogue import put
from tests.support.reading import read
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.encoding import encoding_of, is_broken

RUSSIAN = "Красное платье"
JAPANESE = "赤いドレス、表示能力"
GERMAN = "Übergröße Kleid, crème brûlée – 5 €"
# Titles as shops have them, by encodings that their programs write.
TITLES = {
    "cp1250": "Płaszcz męski, długi;Spódnica z koronką;Kurtka zimowa, święta;Torebka brązowa",
    "cp1253": "Κόκκινο φόρεμα;Δερμάτινη ζώνη;Παιδικά παπούτσια",
    "cp1254": "Kırmızı elbise;Erkek gömlek, açık mavi;Kışlık ceket, şık",
    "cp1255": "שמלה אדומה;חולצת גבר כחולה;חגורת עור",
    "cp1256": "فستان أحمر;قميص رجالي أزرق;حزام جلد",
    "cp1257": "Raudona suknelė;Vyriški marškiniai, mėlyni;Žieminė striukė su gobtuvu",
    "cp874": "ชุดเดรสสีแดง;เข็มขัดหนัง;กระเป๋าผู้หญิง",
    "cp1251": f"{RUSSIAN};Мужская рубашка;Кожаный ремень",
    "koi8-r": f"{RUSSIAN};Мужская рубашка;Кожаный ремень",
    "cp866": f"{RUSSIAN};Мужская рубашка;Кожаный ремень",
    "mac-roman": "Größe 38, grün;Schöne Stiefel;Mütze für Kinder;Gürtel, weiß;Äpfel",
    "iso8859-15": "Robe d'été légère;Chemise à manches longues;Étui à lunettes;Veste rosé",
    "shift_jis": f"{JAPANESE};メンズシャツ、青;革ベルト",
    "euc_jp": f"{JAPANESE};メンズシャツ、青;革ベルト",
    "iso2022_jp": f"{JAPANESE};メンズシャツ、青;革ベルト",
    "gbk": "红色连衣裙;男士衬衫,蓝色;真皮腰带;儿童鞋",
    "big5": "紅色連衣裙;男士襯衫,藍色;真皮腰帶;兒童鞋",
    "euc_kr": "빨간 드레스;남성 셔츠, 파랑;가죽 벨트",
    "utf-16-le": f"{GERMAN};红色",
    "utf-16-be": f"{RUSSIAN};红色",
}


def catalogue(folder: Path, titles: list[str], encoding: str, name="catalog.csv") -> Path:
    """A table of one image, the titles of which repeat to two dozen rows."""
    put(folder / "a.jpg")
    rows = (f'a.jpg,"{titles[n % len(titles)]} {n}"\r\n' for n in range(24))
    return put(folder / name, ("image,title\r\n" + "".join(rows)).encode(encoding))


@pytest.mark.parametrize("encoding", TITLES)
def test_the_letters_of_a_catalogue_are_found(tmp_path, encoding):
    titles = TITLES[encoding].split(";")
    samples, rejected = read(catalogue(tmp_path, titles, encoding))
    captions = [f"{titles[n % len(titles)]} {n}" for n in range(24)]
    assert not rejected and [s.captions for s in samples] == [(caption,) for caption in captions]


@pytest.mark.parametrize(
    ("title", "encoding"), [(GERMAN, "cp1252"), (RUSSIAN, "cp1251"), (JAPANESE, "cp932")]
)
def test_likely_letters_are_shown_and_warned_of(tmp_path, title, encoding):
    reader = readers.choose(catalogue(tmp_path, [title], encoding), Prepare())
    assert {sample.captions[0] for sample in reader} == {f"{title} {n}" for n in range(24)}
    assert encoding in reader.describe()[0] and reader.decisions()["encoding"] == encoding
    (doubt,) = reader.doubts()
    assert not doubt.stops and f"prepare.encoding={encoding}" in doubt.action
    assert title[:10] in doubt.fact


def test_a_letter_or_two_are_a_guess_that_stops(tmp_path):
    rows = "".join(f'{{"image": "a.jpg", "caption": "{n} crème"}}\n' for n in range(24))
    put(tmp_path / "a.jpg")
    path = put(tmp_path / "catalog.jsonl", rows.encode("cp1252"))
    reader = readers.choose(path, Prepare())
    assert [sample.captions[0] for sample in reader] == [f"{n} crème" for n in range(24)]
    (doubt,) = reader.doubts()
    assert doubt.stops and "a guess: cp1252" in doubt.fact and "crème" in doubt.fact
    named = readers.choose(path, Prepare(encoding="cp1252"))
    assert len(list(named)) == 24 and named.doubts() == []


def test_a_named_encoding_is_taken_and_its_broken_letters_stop(tmp_path):
    path = catalogue(tmp_path, [GERMAN], "utf-8")
    reader = readers.choose(path, Prepare(encoding="cp1252"))
    (doubt,) = reader.doubts()
    assert doubt.stops and "broken letters in cp1252" in doubt.fact and "Ãœ" in doubt.fact
    assert readers.choose(path, Prepare(encoding="utf-8")).doubts() == []


def test_bytes_that_a_named_encoding_has_no_letter_for_cost_their_row(tmp_path):
    folder = catalogue(tmp_path, [GERMAN, "red dress"], "cp1252")
    samples, rejected = read(folder, encoding="utf-8")
    assert [s.captions[0] for s in samples] == [f"red dress {n}" for n in range(1, 24, 2)]
    assert len(rejected) == len(samples) and {item.reason.text for item in rejected} == {
        "bytes that are no text in utf-8"
    }


def test_an_encoding_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="no encoding that Python knows"):
        Prepare(encoding="cp12520")


def test_marks_are_certain(tmp_path):
    for mark, name in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le")):
        put(tmp_path / name / "a.jpg")
        data = mark + f"image\ttitle\r\na.jpg\t{GERMAN} 红色\r\n".encode(name)
        reader = readers.choose(put(tmp_path / name / "catalog.csv", data), Prepare())
        assert [s.captions[0] for s in reader] == [f"{GERMAN} 红色"] and not reader.doubts()


def test_json_of_another_encoding_is_read(tmp_path):
    put(tmp_path / "a.jpg")
    titles = TITLES["cp1251"].split(";")
    rows = ", ".join(f'{{"image": "a.jpg", "caption": "{title}"}}' for title in titles)
    path = put(tmp_path / "catalog.json", f"[{rows}]".encode("cp1251"))
    assert [sample.captions[0] for sample in read(path)[0]] == titles


def test_letters_that_come_late_are_found(tmp_path):
    put(tmp_path / "a.jpg")
    plain = "".join(f"a.jpg,a red dress {n}\n" for n in range(60_000))
    late = "".join(f"a.jpg,{title}\n" for title in TITLES["cp1251"].split(";"))
    data = ("image,caption\n" + plain + late).encode("cp1251")
    assert len(data) > 1 << 20
    reader = readers.choose(put(tmp_path / "c.csv.gz", gzip.compress(data, 1)), Prepare())
    assert reader.decisions()["encoding"] == "cp1251"


def test_a_japanese_backslash_is_no_escape():
    # The second byte of 表 is a backslash, that of 能 a bar.
    assert encoding_of(JAPANESE.encode("shift_jis")).name == "cp932"


@pytest.mark.parametrize(
    ("text", "broken"),
    [("cafÃ© crÃ¨me", True), ("Ðš\x80Ð°Ñ\x81Ð½Ð¾Ðµ", True), (GERMAN, False), (RUSSIAN, False)],
)
def test_broken_letters_are_recognised(text, broken):
    assert is_broken(text) is broken
