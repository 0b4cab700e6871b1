"""HTML as a browser shows it; words in angle brackets and ampersands stay."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unidiff_cli.data.captions import clean


@pytest.mark.parametrize(
    "text",
    [
        # Ampersands that begin no entity.
        "pen&notebook set",
        "boho&ethnic dress",
        "left&center print",
        "black&regular fit",
        "bed&parasol",
        "H&M dress",
        "tops&currency",
        "AT&T cap",
        "R&D; lab",
        "cut&copy",
        # Words and sizes between angles.
        "coat <S-XXL> in wool",
        "<NEW> dress",
        "shirt <men, slim fit> blue",
        "bag <leather>",
        "<men's coat>",
        "sizes <S>, <M>, <L>",
        "<b> dress",
        "hat <small>",
        "dress <style> 5",
        # Signs.
        "<3 dress",
        "x < y > z dress",
        "dress <b",
        "a <- b -> c",
        "{name} dress",
        "[bold red]dress[/]",
        ":dress: %s $HOME C:\\new",
        "100% {",
        "}{ dress",
        "'; DROP TABLE",
    ],
)
def test_what_only_looks_like_markup_stays(text):
    assert clean(text) == text


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("<style>p { color: red }</style>Hat", "Hat"),
        ("Hat<script type='a'>if (a < b) x()</script>", "Hat"),
        ("a <!-- hidden --> hat", "a hat"),
        ("a hat <!-- cut in the midd", "a hat"),
        ("<!--[if gte mso 9]><xml>Word</xml><![endif]-->Hat", "Hat"),
        ("<p hidden>no<p>yes", "yes"),
        ("<div><span style='Display: NONE'>no</span>yes</div>", "yes"),
        ("<template>no</template>yes", "yes"),
        # What breaks a line gives a blank, what does not gives none.
        ("<ul><li>Soft</li><li>Warm</li></ul>", "Soft Warm"),
        ("Soft<br>warm<BR/>light", "Soft warm light"),
        ("<table><tr><td>a<td>b</table>", "a b"),
        ("H<sub>2</sub>O", "H2O"),
        # Tags that HTML does not know, closed or with attributes.
        ("<o:p></o:p>Hat", "Hat"),
        ("<rich-text>Hat</rich-text>", "Hat"),
        ("<x-card id='5'>Hat", "Hat"),
        # Cut short, in a text that is HTML.
        ("<p><b>Soft", "Soft"),
        ("<p>Soft <a href='x", "Soft <a href='x"),
        # Escaped once and twice.
        ("&lt;S-XXL&gt; coat", "<S-XXL> coat"),
        ("&lt;p&gt;Soft &amp;amp; warm&lt;/p&gt;", "Soft & warm"),
        ("&amp;lt;p&amp;gt;Soft", "Soft"),
        ("<![CDATA[Soft <b>wool</b>]]>", "Soft wool"),
        ("&#8364; 5, caf&#xE9;&nbsp;&copy;", "€ 5, café ©"),
    ],
)
def test_html_is_read_as_a_browser_shows_it(raw, wanted):
    assert clean(raw) == wanted
    assert clean(wanted) == wanted


@given(st.text(alphabet="<>/&;!-[]\"'= abpscriptu", max_size=60))
def test_any_text_is_one_line_without_blanks_around_it(text):
    cleaned = clean(text)
    assert cleaned == " ".join(cleaned.split())


@pytest.mark.parametrize(
    "text",
    ["<a " * 30_000, '<a "' * 25_000, "<!--" * 25_000, "<div>" * 20_000, "&" * 90_000, "<" * 90_000]
    + ["<b hidden>" * 9000 + "</i>" * 1000, "<p " * 30_000 + ">" * 100, "<![if" * 18_000],
    ids=lambda text: text[:8],
)
def test_hostile_markup_takes_no_long_time(text):
    started = time.process_time()
    clean(text)
    assert time.process_time() - started < 5
