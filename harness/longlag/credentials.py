"""Passwords in addresses: masked in every text that is shown or kept, and read where a server needs them."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote, urlsplit

_USER = r"(://[^\s/?#@:]*)"
_PASSWORD = re.compile(
    rf"{_USER}:(?!PASSWORD@)(?:\S*@"  # up to the last @ of the word: a password may hold anything that is not encoded
    r"|(?!\d{1,5}\b)[^\n@]*@(?:[^\s/]*@)*)"  # with spaces in it; what begins as a port does is none
)
_PARAMETER = re.compile(
    r"([?&](?:\w*(?:passw(?:or)?d|passphrase|pwd|secret|token)|api_?key)=|\b(?:ssl)?(?:password|passwd|pwd)=)"
    r"('[^'\n]*'|[^\s&#'\"]+)",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """`text` with ``***`` in place of every password in an address: ``user:password@host``, ``?password=…``."""
    return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))


def bare(url: str) -> str:
    """An address without user and passwords: where something is, whoever asks."""
    return masked(re.sub(r"(?<=://)[^/?#]*@", "", url))


def basic(url: str) -> str | None:
    """The value of the header ``Authorization`` for the user and password of an address; None without both."""
    user, colon, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    if not colon:
        return None
    given = f"{unquote(user)}:{unquote(password)}".encode()
    return f"Basic {base64.b64encode(given).decode()}"
