"""A report as one HTML file: the Markdown page with its pictures inside, no script and no network."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from longlag import escape

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


def page(markdown: str, folder: Path, title: str) -> str:
    """The page of a Markdown text whose pictures lie in `folder`."""
    from markdown_it import MarkdownIt

    breaks = "\ue000"  # the only mark-up in the text's cells; everything else is shown as it is written
    text = re.sub(r"<!--.*?-->\n?", "", markdown, count=1).replace("<br>", breaks)
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text).replace(breaks, "<br>")
    body = re.sub(r'src="([^"]+\.png)"', lambda match: f'src="{_inside(folder / match[1])}"', body)
    head = f'<meta charset="utf-8"><title>{escape.html(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}</body></html>\n'


def _inside(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
