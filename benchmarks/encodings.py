"""Which letters a catalogue is in: detectors compared on short product titles.

    python -m benchmarks.encodings

Each text is a table of so many rows, with titles of one language in an encoding that its programs
write. A detector is right where the text it gives is the one that was written; names do not count.
`ours` is `unidiff_cli.data.encoding`. Detectors that are not installed are left out:

    pip install charset-normalizer chardet faust-cchardet chardetng-py
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module

from unidiff_cli.data.encoding import encoding_of

TITLES = {
    "de": "Kleid aus Seide, Übergröße;Größe 38 – grün;Schöne Stiefel;Hemd, weiß;Mütze;Gürtel",
    "fr": "Robe d'été légère;Chemise à manches longues;Écharpe foncée;Veste brodée;Étui;Crème rosé",
    "es": "Vestido de niña, algodón;Cinturón marrón;Pantalón de baño;Sandalias cómodas;Bolso niño",
    "pt": "Calça de algodão;Camisão xadrez;Vestido de verão;Sandália de salto médio;Calção",
    "sv": "Blå klänning;Grön tröja för män;Vårjacka, långärmad;Skärp i läder;Stövlar höst",
    "da": "Rød kjole;Grøn trøje til mænd;Blå bukser størrelse 38;Hætte til børn;Læderbælte",
    "en": "Café curtain, 5 € each;Women’s naïve “Luna” dress;Crème coat – £40;Rosé ring;Men’s",
    "pl": "Sukienka letnia żółta;Płaszcz męski, długi;Spódnica z koronką;Buty dziecięce;Święta",
    "cs": "Dámské letní šaty;Pánská košile, červená;Kožený pásek;Dětské boty, růžové;Čepice žlutá",
    "hu": "Női nyári ruha;Férfi ing, hosszú ujjú;Bőr öv, barna;Gyerek cipő, rózsaszín;Fűzős csizma",
    "hr": "Ljetna haljina, žuta;Muška košulja;Kožni remen, smeđi;Dječje cipele;Topla i čvrsta",
    "ro": "Rochie de vară, galbenă;Fustă lungă din bumbac;Geacă de iarnă;Poşetă întreagă",
    "ru": "Красное платье;Мужская рубашка, синяя;Кожаный ремень;Детская обувь;Зимняя куртка",
    "uk": "Червона сукня;Чоловіча сорочка, синя;Шкіряний ремінь;Дитяче взуття;Її жіноча сумка",
    "bg": "Червена рокля;Мъжка риза, синя;Кожен колан;Детски обувки;Зимно яке с качулка",
    "el": "Κόκκινο φόρεμα;Ανδρικό πουκάμισο, μπλε;Δερμάτινη ζώνη;Παιδικά παπούτσια;Τσάντα",
    "tr": "Kırmızı elbise;Erkek gömlek, açık mavi;Çocuk ayakkabısı, yeşil;Kışlık ceket, şık;Kadın",
    "he": "שמלה אדומה;חולצת גבר כחולה;חגורת עור;נעלי ילדים;מעיל חורף עם קפוצון",
    "ar": "فستان أحمر;قميص رجالي أزرق;حزام جلد;أحذية أطفال;سترة شتوية",
    "lt": "Raudona suknelė;Vyriški marškiniai, mėlyni;Odinis diržas;Žieminė striukė;Šviesi rankinė",
    "lv": "Sarkana kleita, vasarīga;Vīriešu krekls, zils;Ādas josta, brūna;Bērnu apavi;Gaiša soma",
    "et": "Meeste särk, sinine;Nahast vöö;Rohelised õmblused;Soe ja õhuke;Naiste käekott",
    "th": "ชุดเดรสสีแดง;เสื้อเชิ้ตผู้ชาย สีฟ้า;เข็มขัดหนัง;รองเท้าเด็ก;กระเป๋าผู้หญิง",
    "ja": "赤いドレス、表示能力;メンズシャツ、青;革ベルト;子供靴;冬のジャケット、フード付き",
    "zh": "红色连衣裙;男士衬衫,蓝色;真皮腰带;儿童鞋;冬季夹克带帽子",
    "tw": "紅色連衣裙;男士襯衫,藍色;真皮腰帶;兒童鞋;冬季夾克帶帽子",
    "ko": "빨간 드레스;남성 셔츠, 파랑;가죽 벨트;아동화;겨울 재킷 후드",
}
# Not looked at when the candidates and thresholds of `unidiff_cli.data.encoding` were chosen.
FRESH = {
    "de": "Küchentisch, Eiche geölt;Häkeldecke;Löffel für Müsli;Spülbürste;Tür, zweiflügelig",
    "fr": "Fauteuil à bascule;Table basse en chêne;Théière émaillée;Rideau occultant;Pièce montée",
    "es": "Sillón de salón;Mesa pequeña de jardín;Cojín bordado;Lámpara de araña;Edredón nórdico",
    "pt": "Cadeira de balanço;Lençol de algodão;Almofada de veludo;Luminária de chão;Sofá três",
    "sv": "Gungstol i trä;Bäddsoffa;Bordslampa, mässing;Filt på rulle;Köksö;Kökshandduk",
    "da": "Gyngestol i træ;Sofabord på hjul;Lampeskærm;Gulvtæppe, blødt;Køkkenø;Håndklæde",
    "en": "Tea set “Rosé”, 12 pieces – £25;Child’s chair;Fiancé mug;Decor: 3 × façade;It’s a sofa",
    "pl": "Krzesło dębowe;Stół rozkładany;Łóżko dziecięce;Zasłona zaciemniająca;Koc wełniany",
    "cs": "Dřevěná židle;Jídelní stůl;Dětská postýlka;Závěs zatemňovací;Vlněná přikrývka",
    "hu": "Tölgyfa szék;Kihúzható étkezőasztal;Gyerekágy;Sötétítő függöny;Gyapjútakaró, fűzött",
    "hr": "Hrastova stolica;Stol na razvlačenje;Dječji krevetić;Zavjesa za zamračenje;Žuti jastuk",
    "ro": "Scaun din stejar;Masă extensibilă;Pătuţ pentru copii;Draperie opacă;Pernă brodată",
    "ru": "Дубовый стул;Раздвижной стол;Детская кроватка;Плотная штора;Шерстяной плед",
    "uk": "Дубовий стілець;Розсувний стіл;Дитяче ліжечко;Щільна штора;Вовняний плед",
    "bg": "Дъбов стол;Разтегателна маса;Детско легло;Плътна завеса;Вълнено одеяло",
    "el": "Δρύινη καρέκλα;Επεκτεινόμενο τραπέζι;Παιδικό κρεβάτι;Κουρτίνα;Μάλλινη κουβέρτα",
    "tr": "Meşe sandalye;Açılır masa;Çocuk karyolası;Karartma perdesi;Yün battaniye, ışıltılı",
    "he": "כיסא עץ אלון;שולחן נפתח;מיטת תינוק;וילון האפלה;שמיכת צמר",
    "ar": "كرسي خشبي;طاولة قابلة للتمديد;سرير أطفال;ستارة معتمة;بطانية صوفية",
    "lt": "Ąžuolinė kėdė;Ištraukiamas stalas;Vaikiška lovytė;Naktinė užuolaida;Vilnonė antklodė",
    "lv": "Ozolkoka krēsls;Izvelkams galds;Bērnu gultiņa;Aptumšojošs aizkars;Vilnas sega, mīksta",
    "et": "Tammepuust tool;Väljatõmmatav laud;Lastevoodi;Pimendav kardin;Villane tekk, hõre",
    "th": "เก้าอี้ไม้โอ๊ค;โต๊ะยืดได้;เตียงเด็ก;ผ้าม่านกันแสง;ผ้าห่มขนสัตว์",
    "ja": "オーク材の椅子;伸縮式テーブル;ベビーベッド;遮光カーテン;ウール毛布",
    "zh": "橡木椅子;可伸缩餐桌;婴儿床;遮光窗帘;羊毛毯",
    "tw": "橡木椅子;可伸縮餐桌;嬰兒床;遮光窗簾;羊毛毯",
    "ko": "참나무 의자;확장형 식탁;아기 침대;암막 커튼;양모 담요",
}
ENCODINGS = {
    "cp1252": "de fr es pt sv da en",
    "iso8859-15": "de fr es pt sv da",
    "cp1250": "pl cs hu hr ro",
    "iso8859-2": "pl cs hu hr ro",
    "cp1251": "ru uk bg",
    "koi8-r": "ru",
    "iso8859-5": "ru bg",
    "cp1253": "el",
    "cp1254": "tr",
    "cp1255": "he",
    "cp1256": "ar",
    "cp1257": "lt lv et",
    "cp874": "th",
    "shift_jis": "ja",
    "euc_jp": "ja",
    "iso2022_jp": "ja",
    "gbk": "zh",
    "gb18030": "zh",
    "big5": "tw",
    "euc_kr": "ko",
    "mac_roman": "de fr es sv",
    "cp850": "de fr es",
    "cp866": "ru",
    "utf-16-le": "de ru ja en zh",
    "utf-16-be": "de ru ja",
}
Detector = Callable[[bytes], str | None]


def texts(rows: int, titles_by: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Every encoding with tables of so many rows, each language begun at each of its titles."""
    for encoding, languages in ENCODINGS.items():
        for language in languages.split():
            titles = [t for t in titles_by[language].split(";") if _writable(t, encoding)]
            for start in range(len(titles)):
                chosen = [titles[(start + n) % len(titles)] for n in range(rows)]
                if not "".join(chosen).isascii():
                    lines = (f"images/{n}.jpg,{title}\r\n" for n, title in enumerate(chosen))
                    yield encoding, ("image,title\r\n" + "".join(lines)).encode(encoding)


def _writable(text: str, encoding: str) -> bool:
    try:
        return bool(text.encode(encoding))
    except UnicodeEncodeError:
        return False


def detectors() -> dict[str, Detector]:
    """The detectors that are installed, each as bytes to a name."""
    ways: dict[str, tuple[str, Callable[..., Detector]]] = {
        "charset-normalizer": (
            "charset_normalizer",
            lambda m: lambda d: b.encoding if (b := m.from_bytes(d).best()) else None,
        ),
        "chardet": ("chardet", lambda m: lambda d: m.detect(d)["encoding"]),
        "faust-cchardet": ("cchardet", lambda m: lambda d: m.detect(d)["encoding"]),
        "chardetng-py": ("chardetng_py", lambda m: lambda d: m.detect(d, allow_utf8=False)),
    }
    installed: dict[str, Detector] = {}
    for name, (module, way) in ways.items():
        try:
            installed[name] = way(import_module(module))
        except ImportError:
            continue
    return installed | {"ours": lambda data: encoding_of(data).name}


def is_right(data: bytes, encoding: str, name: str | None) -> bool:
    """Whether a name gives the text that was written."""
    try:
        return data.decode(name or "ascii") == data.decode(encoding)
    except (LookupError, UnicodeError):
        return False


def main() -> None:
    print(
        "| titles | rows | texts |", " | ".join(detectors()), "| wrong, likely | right, doubted |"
    )
    for name, titles in (("known", TITLES), ("fresh", FRESH)):
        for rows in (1, 2, 6, 24):
            print(f"| {name} | {rows} |", " | ".join(compare(list(texts(rows, titles)))), "|")


def compare(samples: list[tuple[str, bytes]]) -> list[str]:
    """The cells of a line: texts, right ones of each detector, and how ours knows it."""
    right: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for encoding, data in samples:
        for name, detect in detectors().items():
            start = time.perf_counter()
            found = detect(data)
            seconds[name] += time.perf_counter() - start
            right[name] += is_right(data, encoding, found)
    cells = [f"{right[name]} ({1e3 * seconds[name] / len(samples):.1f} ms)" for name in right]
    guesses = [(encoding_of(data), encoding, data) for encoding, data in samples]
    sure = Counter((g.is_likely, is_right(data, e, g.name)) for g, e, data in guesses)
    return [str(len(samples)), *cells, str(sure[True, False]), str(sure[False, True])]


if __name__ == "__main__":
    main()
