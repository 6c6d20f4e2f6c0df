"""Text of users, plug-ins and data as each medium shows it literally: one function a medium.

A name may hold anything: an arm called ``[/red]``, a reason with the colours of another program, a claim with a table's
bars. What is written somewhere passes the function of that place:

    line, lines      a terminal or a log: no control characters (`longlag.cli.terminal` turns Rich's markup off)
    html             HTML and SVG
    markdown         prose of a Markdown page; spans of code in it stay
    code             a span of code in Markdown
    fenced           a block of code in Markdown
    picture          matplotlib, which reads ``$…$`` as LaTeX
    latex            text of a LaTeX document
    mlflow           a name, tag or parameter in MLflow
"""

from __future__ import annotations

import html as html_
import re
import unicodedata

LONGEST_LABEL = 60
"""Characters of a label in a picture."""
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
"""Categories of characters that do not show, or change what is around them: controls, directions, line separators."""
JOINERS = "\u200c\u200d"
"""Formats that words and emoji are made with."""
PUNCTUATION = re.escape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", "∞": r"$\infty$", "≥": r"$\geq$", "≤": r"$\leq$",
    "Ω": r"$\Omega$", "–": "--", "×": r"$\times$", "…": r"\ldots{}",
}  # fmt: skip


def line(text: object) -> str:
    r"""One line of a terminal: every character that would not show is written as Python would, such as ``\x1b``."""
    whole = str(text)
    return whole if whole.isprintable() else "".join(map(_seen, whole))


def lines(text: object) -> str:
    """The same of several lines."""
    return "\n".join(line(each.expandtabs()) for each in str(text).split("\n"))


def html(text: object) -> str:
    """Text between tags, or in a quoted attribute."""
    return html_.escape(lines(text))


def markdown(text: object) -> str:
    """Prose in one line, wherever it is put into a page: no mark-up but spans of code."""
    parts = re.split(r"(?<!`)(`[^`\n]+`)(?!`)", line(" ".join(str(text).split())))
    shown = "".join(part if number % 2 else _prose(part) for number, part in enumerate(parts))
    # what would begin or underline a heading, or begin a list or a quotation, at the start of a line
    shown = re.sub(r"^(#(?=#{0,5}(?:\s|$))|>|[+-](?=\s|$)|[-=](?=[-=\s]*$))", r"\\\1", shown)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", shown)


def code(text: object) -> str:
    """A span of code, whatever its backticks."""
    shown = line(" ".join(str(text).split())) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{space}{shown}{space}{fence}"


def cell(markdown: object) -> str:
    """A cell of a Markdown table, from what the functions above made: an unescaped bar would end it."""
    return re.sub(r"(?<!\\)((?:\\\\)*)\|", r"\1\\|", str(markdown).replace("\n", " "))


def fenced(text: object, language: str = "") -> str:
    """A block of code, whatever fences are in it."""
    shown = lines(text).rstrip("\n")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence}{language}\n{shown}\n{fence}"


def picture(text: object) -> str:
    """A label, cut where it would leave no room for the picture."""
    shown = line(text)
    shown = shown if len(shown) <= LONGEST_LABEL else f"{shown[: LONGEST_LABEL - 1]}…"
    return shown.replace("$", r"\$")


def latex(text: object) -> str:
    """Text in a LaTeX document, its own commands shown as they are written."""
    return "".join(LATEX.get(character, character) for character in line(" ".join(str(text).split())))


def mlflow(text: object, longest: int) -> str:
    """A name, note, tag or parameter, cut where MLflow would refuse it or cut it with a warning.

    PostgreSQL takes no NUL.
    """
    shown = lines(text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _seen(character: str) -> str:
    if unicodedata.category(character) not in UNSEEN or character in JOINERS:
        return character
    return character.encode("unicode_escape", "backslashreplace").decode()


def _prose(text: str) -> str:
    """``_`` inside of words, ``<`` before a space and ``&`` outside of entities mean nothing in Markdown: they stay."""
    shown = re.sub(rf"\\(?=[{PUNCTUATION}]|$)", r"\\\\", text)
    shown = re.sub(r"([`*\[\]~|])", r"\\\1", shown)
    shown = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", shown)
    shown = re.sub(r"&(?=#|\w+;)", "&amp;", shown)
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", shown)
