"""A report as one HTML file: the Markdown page with its pictures inside, no script and no network."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from longlag import escape, reading
from longlag.log import log

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; font-size: 13px; margin: 1rem 0; }
th, td { border: 1px solid #ddd; padding: .35rem .55rem; text-align: left; vertical-align: top; }
th { background: #f5f5f5; }
img { max-width: 100%; }
code { font-size: 12px; background: #f5f5f5; padding: 0 .2em; }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; } pre code { padding: 0; }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Of the page: what is not inside of it is not fetched."""
LARGEST = 20_000_000
"""Bytes of a picture, at most."""


def page(markdown: str, folder: Path, title: str) -> str:
    """The page of a Markdown text, with those of its pictures that lie in `folder`; others are left as their titles.

    The text may come from somebody else: no other file is read, and no address becomes a picture.
    """
    from markdown_it import MarkdownIt

    def picture(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        source, shown = _inside(folder, str(tokens[index].attrs["src"])), escape.html(tokens[index].content)
        return shown if source is None else f'<img src="{source}" alt="{shown}">'

    breaks = "\ue000"  # the only mark-up in the text's cells; everything else is shown as it is written
    text = re.sub(r"<!--.*?-->\n?", "", markdown, count=1).replace("<br>", breaks)
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("image", picture)
    body = parser.render(text).replace(breaks, "<br>")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    head = f'<meta charset="utf-8">{policy}<title>{escape.html(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}</body></html>\n'


def _inside(folder: Path, source: str) -> str | None:
    """A picture as part of the page; None where it is none, or does not lie in the folder, links followed."""
    try:
        path = (folder / unquote(source)).resolve()
        if path.suffix != ".png" or not path.is_relative_to(folder.resolve()):
            return None
        return f"data:image/png;base64,{base64.b64encode(reading.read(path, LARGEST)).decode()}"
    except (OSError, ValueError) as error:
        log.info("the picture %s is left out: %s", source, error, exc_info=True)
        return None
