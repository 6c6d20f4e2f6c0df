"""Text of users is shown as it is, whatever is in it, by each medium."""

from __future__ import annotations

import html as html_
import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.text import Text

from longlag import escape
from longlag.cli.terminal import Literal
from longlag.figure import figure, save
from longlag.papers import report_html
from longlag.papers.report_markdown import table

NASTY = [
    "[/red]", "[bold]b", "]]", ":smile:", "<script>alert(1)</script>", "</style><img src=x onerror=y>", "&lt;",
    "&#60;", "\x1b[31mred\x1b[0m", "\x1b]8;;http://e\x07x", "a\nb", "a\r\nb", "\t", "\x00", "\x9b31m", "\ud800",
    "\u202egnp", "\ufeff", "|pipe|", "\\", "\\|", "a\\", "`tick", "``two``", "```\nfence", "*a* _b_ __c__ ~~d~~",
    "![x](http://e/x.png)", "[x](javascript:x)", "[x]: http://e", "<http://e>", "# head", "> quote", "- list",
    "1. list", "---", "===", "$x_{", "\\$", "日本", "👩\u200d💻", "<!-- c -->",
]  # fmt: skip
ANY = st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=4)), max_size=4).map("".join)


def rendered(markdown: str) -> str:
    return str(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))


def told(page: str) -> str:
    """What a reader of a page sees, but for white space and for backticks, which spans of code are made with."""
    return "".join(html_.unescape(re.sub("<[^>]*>", "", page)).replace("`", "").split())


def shown(text: str) -> str:
    return "".join(escape.line(" ".join(text.split())).replace("`", "").split())


@settings(deadline=None)
@given(ANY)
def test_a_line_shows_every_character(text: str) -> None:
    line = escape.line(text)
    assert not [c for c in line if unicodedata.category(c) in escape.UNSEEN and c not in escape.JOINERS]
    line.encode()
    assert escape.line(line) == line and (line == text or not text.isprintable())


@settings(deadline=None)
@given(ANY)
def test_a_terminal_gets_no_markup_and_no_control_characters(text: str) -> None:
    console = Literal(width=10_000)
    with console.capture() as captured:
        console.print(text)
        console.print(Text(escape.lines(text)))
    plain = escape.lines(text)
    assert captured.get() == f"{plain}\n{plain}\n"


@settings(deadline=None)
@given(ANY)
def test_prose_in_markdown_has_no_markup_but_spans_of_code(text: str) -> None:
    page = rendered(f"{escape.markdown(text)}\n")
    assert set(re.findall(r"</?(\w+)", page)) <= {"p", "code"}, page
    assert told(page) == shown(text)


@settings(deadline=None)
@given(ANY, ANY)
def test_cells_of_a_markdown_table_stay_in_their_places(one: str, other: str) -> None:
    page = rendered("\n".join(table(["a", "b"], [[escape.markdown(one), escape.code(other)]])))
    cells = re.findall("<td>(.*?)</td>", page, re.DOTALL)
    assert len(cells) == 2 and told(cells[0]) == shown(one)
    assert cells[1].startswith("<code>") and cells[1].endswith("</code>")


@settings(deadline=None)
@given(ANY)
def test_code_in_markdown_ends_where_it_should(text: str) -> None:
    (found,) = re.findall(r"<p>before <code>(.*?)</code> after</p>", rendered(f"before {escape.code(text)} after"))
    assert html_.unescape(found).split() == escape.line(" ".join(text.split())).split()
    block = rendered(f"{escape.fenced(text, 'yaml')}\n\n# after\n")
    assert block.count("<pre>") == 1 and block.rstrip().endswith("<h1>after</h1>")


@settings(deadline=None)
@given(ANY)
def test_html_and_svg_hold_the_text_and_nothing_else(text: str) -> None:
    element = ElementTree.fromstring(f'<p a="{escape.html(text)}">{escape.html(text)}</p>')
    assert (element.text or "") == escape.lines(text) and not list(element)
    page = report_html.page(f"{escape.markdown(text)}\n", None, text)  # type: ignore[arg-type]  # it has no pictures
    assert not re.search("<(script|img|style a|a) ", page) and page.count("<title>") == page.count("</title>") == 1


@settings(deadline=None)
@given(ANY)
def test_what_goes_into_mlflow_is_taken_by_every_database(text: str) -> None:
    value = escape.mlflow(text * 50, 100)
    assert "\x00" not in value and len(value) <= 100
    value.encode()


@pytest.mark.parametrize("text", ["$x_{", "$a$ $$", "\\$", "\x1b[0m", "日本", "a" * 400, "[/red]"])
def test_a_picture_shows_a_label_as_it_is(text: str, tmp_path: Path) -> None:
    made = figure(3, 2, dpi=50)
    axes = made.subplots()
    axes.set_title(escape.picture(text))
    save(made, tmp_path / "x.png")
    assert axes.title._preprocess_math(axes.title.get_text())[0] in (escape.line(text), f"{escape.line(text)[:59]}…")


def test_nothing_is_printed_or_escaped_elsewhere() -> None:
    folder = Path(escape.__file__).parent
    allowed = {
        "typer.echo(": {"cli/terminal.py", "cli/app.py"},
        "Console(": {"cli/terminal.py"},
        "import html": {"escape.py"},
        "xml.sax": set(),
        "backend_agg": {"figure.py"},
    }
    for path in folder.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found = {
            word for word, places in allowed.items() if word in text and str(path.relative_to(folder)) not in places
        }
        assert not found, path
