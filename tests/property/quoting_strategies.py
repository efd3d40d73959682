"""Texts that could be misread, for the laws of quoting."""

from __future__ import annotations

from hypothesis import strategies as st

from compiler.emit.quoting import MAX_WORD_BYTES
from tests.generators.plans import HOSTILE

# Every sign that some dialect gives a meaning to, drawn often.
_SIGNS = st.sampled_from(list("ab0 \\\"'$%{}()[]<>|&;:,#?*!~`@^-=+./\t\n\r\x01\x1b\x7f"))
_FRAGMENTS = st.sampled_from(
    [
        *HOSTILE,
        "$$",
        "${",
        "\\n",
        "\\x41",
        "\\\n",
        "\r\n",
        "%%",
        "{{",
        "}}",
        "{#",
        "'\\''",
        "\u2028",
        "\u202e",
        "\x85",
        "\xa0",
        "\ufeff",
    ]
)
# NUL and half surrogate pairs are left out: no process can be given them.
_ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
# What systemd takes for invalid UTF-8; no other reader minds.
_NONCHARACTERS = {*map(chr, range(0xFDD0, 0xFDF0))} | {
    chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF)
}

texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(_SIGNS, max_size=20),
    st.text(_ANY, max_size=20),
    st.lists(_FRAGMENTS, max_size=4).map("".join),
)
systemd_texts = texts.filter(lambda text: not _NONCHARACTERS & set(text))
# podman's generator makes a stray byte of this one.
quadlet_texts = systemd_texts.filter(lambda text: "\x80" not in text)

# As long as what users put into an argument gets, and longer in bytes once it is quoted.
LONG = ("\"$%\\'`\n é" * 8000)[: 64 * 1024]
assert len(LONG.encode()) < MAX_WORD_BYTES
