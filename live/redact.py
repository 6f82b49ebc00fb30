"""Texts without anybody's password: what may stand in messages, logs and files for others.

Cameras are opened by addresses with user and password in them, often written as no standard allows
(`rtsp://user:pa@ss/w@host`). What might be a credential is hidden, also where it might be none: a
message that shows too little costs a question, one that shows too much costs the camera.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

HIDDEN: Final = "***"

_START: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//")
_WORD: Final = re.compile(r"[^\s\"'`<>]*")
_LINE: Final = re.compile(r"[^\r\n]*")
_OF_THE_SENTENCE: Final = ":,.;)"  # at an address's end
_FARTHEST: Final = 200  # characters after a blank or quote in a password to look for its @
# a name or number, perhaps a port, perhaps the colon of the sentence
_PLAIN_HOST: Final = re.compile(r"(?:\[[^\]]*\]|[^:@\[\]]*)(?::\d*)?:?")
_SURE_HOST: Final = re.compile(r"(?:\[[^\]]*\]|localhost|[\w-]+(?:\.[\w-]+)+)(?::\d*)?:?", re.I)
_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Fa-f:.%]*\]|\d+(?:\.\d+){3}|[\w.-]+:\d+)(?![\w.])")
_QUERY: Final = re.compile(r"[?#&;][\w.%\[\]-]+=")
# a value ends where the next pair begins; cameras also write user=admin_password=x_channel=1
_PAIR: Final = re.compile(
    r"(?<![A-Za-z0-9.%\[\]-])([A-Za-z0-9.%\[\]-]+(?:_[A-Za-z0-9.%\[\]-]+)*)="
    r"((?:(?![&;#?][\w.%\[\]-]+=|_[A-Za-z]+=).)*)",
    re.S,
)
_BARE_PAIR: Final = re.compile(
    r"(?i)\b((?:\w*password|\w*passwd|\w*passphrase|\w*pwd|\w*token|\w*secret|api[_-]?key)=)"
    r"[^\s&;\"'`<>]+"
)
_BARE_USER: Final = re.compile(r"(?<![\w@/.*%-])[\w.+%~-]{1,64}:[^\s@/\"'`<>]{1,256}@(?=[\w\[])")
_ENCODED: Final = re.compile(r"(?i)(%3a%2f%2f)(?:(?!%2f|%3f)[^\s&\"'`<>])*(?=%40)")
_HEADER: Final = re.compile(r"(?i)(authorization:\s*\w+\s+|cookie:\s*|bearer\s+)[^\s\"'`<>]+")

_SECRET_PARTS: Final = (
    *("pass", "pwd", "psw", "token", "secret", "apikey", "accesskey", "privatekey", "signature"),
    *("credential", "auth", "session", "jwt", "bearer", "cookie", "login", "user"),
)
_SECRET_WORDS: Final = frozenset(
    ("key", "sig", "sid", "pw", "p", "u", "usr", "uid", "account", "code", "pin", "hash", "hmac")
)


def hide_secrets(text: str) -> str:
    """Return a text in which every address has *** for its user, password and keys."""
    return _hide(text, _WORD)


def hide_in_url(url: str) -> str:
    """As `hide_secrets`, for one address, whose password may have blanks and quotes in it."""
    return _hide(url, _LINE)


def _hide(text: str, word: re.Pattern[str]) -> str:
    if "//" in text:
        text = _each_address(text, word)
    if "%" in text:
        text = _ENCODED.sub(rf"\1{HIDDEN}", text)
    text = _BARE_PAIR.sub(rf"\1{HIDDEN}", text)
    if "@" in text:
        text = _BARE_USER.sub(f"{HIDDEN}@", text)
    return _HEADER.sub(rf"\1{HIDDEN}", text)


def _each_address(text: str, word: re.Pattern[str]) -> str:
    shown, at = [], 0
    while (start := _START.search(text, at)) is not None:
        shown.append(text[at : start.end()])
        end = _match(word, text, start.end())
        line_end = min(_match(_LINE, text, end), end + _FARTHEST)
        again = _START.search(text, end, line_end)
        rest = text[start.end() : end]
        skip = _userinfo_length(rest, text[start.end() : again.start() if again else line_end])
        at = start.end()
        if skip:
            shown.append(f"{HIDDEN}@")
            at += skip
            end = max(end, _match(word, text, at))
        address = text[at:end]
        kept = len(address.rstrip(_OF_THE_SENTENCE)) if word is _WORD else len(address)
        shown.append(_hide_pairs(address[:kept]) + address[kept:])
        at = end
    shown.append(text[at:])
    return "".join(shown)


def _match(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _userinfo_length(word: str, line: str) -> int:
    """Return how many characters of an address after its // are user, password and @.

    Args:
        word: The address up to a blank or quote.
        line: The same and what follows.
    """
    authority = re.split(r"[/?#\\]", word, maxsplit=1)[0]
    query = _QUERY.search(word)
    before_query = word if query is None else word[: query.start()]
    if "@" in authority:
        return before_query.rfind("@") + 1 or authority.rfind("@") + 1
    if _PLAIN_HOST.fullmatch(authority) is None:  # what follows the colon is no port
        return before_query.rfind("@") + 1 or word.rfind("@") + 1 or line.rfind("@") + 1
    last = before_query.rfind("@")
    if last < 0 or ":" not in word[:last]:
        return 0
    doubtful = _SURE_HOST.fullmatch(authority) is None
    return last + 1 if doubtful or _ADDRESS.match(word, last + 1) else 0


def _hide_pairs(text: str) -> str:
    """Hide the values of `?user=…&pwd=…`, in path, query or fragment."""
    if "=" not in text:
        return text
    hide: Callable[[re.Match[str]], str] = lambda pair: (  # noqa: E731
        f"{pair[1]}={HIDDEN}" if pair[2] and _is_secret(pair[1]) else f"{pair[1]}={pair[2]}"
    )
    return _PAIR.sub(hide, text)


def _is_secret(key: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", unquote(key).lower())
    return plain in _SECRET_WORDS or any(part in plain for part in _SECRET_PARTS)
