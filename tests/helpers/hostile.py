"""Strategies of hypothesis for files that somebody else made: right ones, changed a little."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

# What `json.dumps` would not write; put in as text in the place of a marker.
RAW = {
    "@deep@": "[" * 3000 + "]" * 3000,
    "@open@": "[" * 5000,
    "@digits@": "1" * 5000,
    "@huge@": "1e999",
    "@nan@": "NaN",
    "@infinity@": "-Infinity",
    "@twice@": '{"a": 1, "a": 2}',
    "@half@": '"\\ud800"',
}
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(sorted(RAW)),
    st.sampled_from([None, True, False, 0, -1, 1 << 31, 1 << 63, 1 << 70, 0.5, -0.0, 1e300]),
    st.sampled_from(["", "\0", "a\nb", "\x1b[31m", "x" * 300, "..", "/dev/zero", "LOOP", "PIPE"]),
    st.sampled_from(["é" * 200, "rtsp://a:b@c/d", "~nosuchuser/x", "%s", "{}", "@x", "1,2", "nan"]),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def dumped(value: Any) -> str:
    """Write a value as JSON with what JSON does not have."""
    text = json.dumps(value)
    for marker, raw in RAW.items():
        text = text.replace(json.dumps(marker), raw)
    return text


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value inside a document."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, part in value.items():
            found += places(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(value[:3]):
            found += places(part, (*path, index))
    return found


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """Replace, remove or add up to three values of a document."""
    value = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        ways = places(value)
        if not ways:
            break
        *path, last = draw(st.sampled_from(ways))
        holder = value
        for key in path:
            holder = holder[key]
        change = draw(st.integers(0, 5))
        if change == 0:
            del holder[last]
        elif change == 1 and isinstance(holder, dict):
            holder[draw(st.text(max_size=6))] = draw(VALUES)
        else:
            holder[last] = draw(VALUES)
    return value


@st.composite
def damaged(draw: st.DrawFn, text: str | bytes) -> bytes:
    """Cut a file, or put other bytes into it."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        upto = draw(st.integers(at, min(len(data), at + 8)))
        data = data[:at] + draw(st.binary(max_size=6)) + data[upto:]
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


@st.composite
def documents(draw: st.DrawFn, *rows: Any) -> bytes:
    """A file of one JSON document, or of one a line, with changes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=40))
    at = draw(st.integers(0, len(rows) - 1))
    changed_row = draw(changed(rows[at]) | VALUES)
    texts = [dumped(changed_row if n == at else row) for n, row in enumerate(rows)]
    text = "\n".join(texts) + "\n"
    return draw(damaged(text)) if draw(st.booleans()) else text.encode("utf-8", "surrogatepass")


WORDS = st.text(alphabet="abcxyz019=,. -@'\"\\/~\n\0é[]{}:&*!<>|%#?", max_size=30)


@st.composite
def texts(draw: st.DrawFn, *examples: str) -> str:
    """A line of a command, changed a little, or anything."""
    if draw(st.integers(0, 4)) == 0:
        return draw(WORDS | st.text(max_size=20))
    text = draw(st.sampled_from(examples))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        put = draw(WORDS | st.sampled_from(["1" * 5000, "nan", "inf", "1e999", "-1", "x" * 300]))
        text = text[:at] + put + text[draw(st.integers(at, len(text))) :]
    return text
