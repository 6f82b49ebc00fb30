"""Hides passwords in texts for messages, logs and files.

Addresses of cameras hold user and password, often written as no standard allows
(`rtsp://user:pa@ss/w@host`). What might be a credential is hidden, also where it might be none: a
message that shows too little costs a question, one that shows too much costs the camera.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

HIDDEN: Final = "***"

_START: Final = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//"
    # as it is also typed: rtsp:/user:pass@host, rtsp:\\user:pass@host, rtsp:user:pass@host
    r"|\b(?:rtspu?|rtsps|rtmp[est]{0,2}|srt|rist|https?|hls|mms[ht]?|ftp|rtp|udp|tcp|tls)"
    r":(?:[/\\]{1,3}|(?=[^\s:@/\\]{1,64}:[^\s@]{1,256}@))",
    re.I,
)
_WORD: Final = re.compile(r"[^\s\"'`<>]*")
_ALL: Final = re.compile(r"(?s).*")
_OF_THE_SENTENCE: Final = ":,.;)"  # at an address's end
_FARTHEST: Final = 200  # characters after a blank or quote in a password to look for its @
_ANOTHER_LINE: Final = re.compile(r"[\r\n]")
# a name or number, perhaps a port, perhaps the colon of the sentence
_PLAIN_HOST: Final = re.compile(r"(?:\[[^\]]*\]|[^:@\[\]]*)(?::\d*)?:?")
_SURE_HOST: Final = re.compile(r"(?:\[[^\]]*\]|localhost|[\w-]+(?:\.[\w-]+)+)(?::\d*)?:?", re.I)
_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Fa-f:.%]*\]|\d+(?:\.\d+){3}|[\w.-]+:\d+)(?![\w.])")
# a user with blanks: no sentence has a host, words, a colon, and an @ that an address ends with
_BLANKS_IN_USER: Final = re.compile(
    r"[^\s/:@?#]+(?:[ \t]+[^\s/:@\"'`<>]+)+:[^\r\n/\"'`<>]*@(?=[\w.\[\]-]+(?:[/\"'`]|:\d|\Z))"
)
_QUERY: Final = re.compile(r"[?#&;][\w.%\[\]-]+=")
# a value ends where the next pair begins; cameras also write user=admin_password=x_channel=1
_PAIR: Final = re.compile(
    r"(?<![A-Za-z0-9.%\[\]-])([A-Za-z0-9.%\[\]-]+(?:_[A-Za-z0-9.%\[\]-]+)*)="
    r"((?:(?![&;#?][\w.%\[\]-]+=|_[A-Za-z]+=).)*)",
    re.S,
)
_NESTED: Final = re.compile(r"(?<![A-Za-z0-9_-])([A-Za-z0-9_-]{1,64})=")
_PLACEHOLDER: Final = "USER:PASSWORD@"  # of a hint that shows how an address is written
_NAMED: Final = re.compile(r"[\w.%\[\]~-]+=[^=]")
_UNSAID: Final = re.compile(r"[a-z_-]*[A-Z]?[a-z]*=?|\d+")  # a query of a word or number is no key
_NEXT_PAIR: Final = re.compile(r"[ \t]+[\w.-]{1,64}=[^\s\"'`<>]*")  # librtmp: rtmp://host/app key=1
# http://host/hls/token/abc/x.m3u8: the part after the word, without the ending of a file
_PATH_SECRET: Final = re.compile(
    r"(?i)(?<=/)((?:[a-z]{1,16}[_-]?)?(?:tokens?|keys?|apikey|auth|secret|password|passwd|pwd|pass"
    r"|jwt|signature|sig|hmac|session|sid)/(?-i:(?:token|key)/)?+)(?!\*\*\*)"
    r"[^/?#&=]+?(?=[/?#]|\Z|\.(?:m3u8?|mpd|mp4|ts|flv|mkv|mov|webm|m?jpe?g|mjpg|png|sdp)(?:[?#]|\Z))"
)
_BARE_PAIR: Final = re.compile(
    r"(?i)\b((?:\w*password|\w*passwd|\w*passphrase|\w*pwd|\w*token|\w*secret|api[_-]?key)=)"
    r"(?:'[^'\r\n]*'|\"[^\"\r\n]*\"|[^\s&;\"'`<>]+)"
)
_BARE_USER: Final = re.compile(r"(?<![\w@/.*%-])[\w.+%~-]{1,64}:[^\s@/\"'`<>]{1,256}@(?=[\w\[])")
_ENCODED: Final = re.compile(r"(?i)(%3a%2f%2f)(?:(?!%2f|%3f)[^\s&\"'`<>])*(?=%40)")
_HEADER: Final = re.compile(r"(?i)(authorization:\s*\w+\s+|cookie:\s*|bearer\s+)[^\s\"'`<>]+")

_SECRET_PARTS: Final = (
    *("pass", "pwd", "psw", "token", "secret", "apikey", "accesskey", "privatekey", "signature"),
    *("credential", "auth", "session", "jwt", "bearer", "cookie", "login", "user"),
)
_SECRET_WORDS: Final = frozenset(
    (
        *("key", "sig", "sid", "pw", "p", "u", "usr", "uid", "account", "code", "pin", "hash"),
        *("hmac", "md5", "sign", "streamid", "streamkey", "hdnts", "hdnea", "hdntl", "hdnml"),
    )
)


def hide_secrets(text: str) -> str:
    """Return a text in which every address has *** for its user, password and keys."""
    return _hide(text, _WORD)


def hide_in_url(url: str) -> str:
    """As `hide_secrets`, for one address, whose password may have blanks, quotes and lines."""
    return _hide(url, _ALL)


def _hide(text: str, word: re.Pattern[str]) -> str:
    if "//" in text or ":" in text:
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
        farthest = min(len(text), end + _FARTHEST)
        again = _START.search(text, end, farthest)
        rest = text[start.end() : end]
        skip = _userinfo_length(rest, text[start.end() : again.start() if again else farthest])
        at = start.end()
        if skip:
            userinfo = text[at : at + skip]
            shown.append(userinfo if userinfo == _PLACEHOLDER else f"{HIDDEN}@")
            at += skip
            end = max(end, _match(word, text, at))
        address = text[at:end]
        kept = len(address.rstrip(_OF_THE_SENTENCE)) if word is _WORD else len(address)
        ours = start[0].startswith("//") or start[0].lower().startswith("file:")
        hidden = _hide_pairs(address[:kept])
        shown.append((hidden if ours else _hide_unnamed(hidden)) + address[kept:])
        at = end
        while (pair := _NEXT_PAIR.match(text, at)) is not None and "//" not in pair[0]:
            shown.append(_hide_pairs(pair[0]))
            at = pair.end()
    shown.append(text[at:])
    return "".join(shown)


def _match(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _userinfo_length(word: str, line: str) -> int:
    """Return how many characters of an address after its // are user, password and @.

    `word` is the address up to a blank or quote, `line` the same and what follows, also on further
    lines.
    """
    one_line = _ANOTHER_LINE.split(line, maxsplit=1)[0]
    authority = re.split(r"[/?#\\]", word, maxsplit=1)[0]
    query = _QUERY.search(word)
    before_query = word if query is None else word[: query.start()]
    if "@" in authority:
        return before_query.rfind("@") + 1 or authority.rfind("@") + 1
    if _PLAIN_HOST.fullmatch(authority) is None:  # what follows the colon is no port
        in_word = before_query.rfind("@") + 1 or word.rfind("@") + 1
        return in_word or one_line.rfind("@") + 1 or line.rfind("@") + 1
    blanks = _BLANKS_IN_USER.match(one_line)
    if blanks is not None and authority == word and _ADDRESS.match(word) is None:
        return blanks.end()
    last = before_query.rfind("@")
    if last < 0 or ":" not in word[:last]:
        return 0
    doubtful = _SURE_HOST.fullmatch(authority) is None
    return last + 1 if doubtful or _ADDRESS.match(word, last + 1) else 0


def _hide_pairs(text: str) -> str:
    """Hide the values of `?user=…&pwd=…`, in path, query or fragment."""
    return _PAIR.sub(_hide_pair, text) if "=" in text else text


def _hide_pair(pair: re.Match[str]) -> str:
    key, value = pair[1], pair[2]
    if value and _is_secret(key):
        return f"{key}={HIDDEN}"
    for inner in _NESTED.finditer(value):  # exp=1~acl=/*~hmac=…
        if _is_secret(inner[1]) and inner.end() < len(value):
            return f"{key}={value[: inner.end()]}{HIDDEN}"
    return f"{key}={value}"


def _hide_unnamed(address: str) -> str:
    """Hide keys without a name: in the path after a word such as token, in query and fragment."""
    address = _PATH_SECRET.sub(rf"\1{HIDDEN}", address)
    before, hash_sign, fragment = address.partition("#")
    before, question, query = before.partition("?")
    if question:
        parts = [
            part if _UNSAID.fullmatch(part) else _hide_nameless(part) for part in query.split("&")
        ]
        before += question + "&".join(parts)
    if fragment:
        fragment = "&".join(map(_hide_nameless, fragment.split("&")))
    return before + hash_sign + fragment


def _hide_nameless(part: str) -> str:
    return part if not part or _NAMED.match(part) else HIDDEN


def _is_secret(key: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", unquote(key).lower())
    return plain in _SECRET_WORDS or any(part in plain for part in _SECRET_PARTS)
