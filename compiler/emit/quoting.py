"""How a text is written in each dialect so that its reader gets exactly that text."""

from __future__ import annotations

import re
import shlex

# Linux refuses an argument or environment string of 32 pages or more (MAX_ARG_STRLEN in
# include/uapi/linux/binfmts.h), the final NUL counted; with 4 KiB pages that is 128 KiB.
MAX_WORD_BYTES = 32 * 4096 - 1

# systemd refuses longer lines, continued lines counted as one (LONG_LINE_MAX in
# src/basic/fileio.h of systemd 252).
MAX_UNIT_LINE_BYTES = (1 << 20) - 1

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Narrower than what Linux allows: none of these means anything to systemd, sh, YAML or `env`, at
# any place of a path, so that a path can also stand in directives that know no quoting.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._+/-]*")

# What the eye does not see or what turns the reading direction, beside the controls below U+0020.
# YAML 1.1 readers also take U+0085, U+2028 and U+2029 for line ends and refuse the others raw.
# The ranges are fixed here: Python's own tables change with its version, our bytes must not.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\U000e0000-\U000e007f]"
)
_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

# systemd takes these for invalid UTF-8 (unichar_is_valid in src/basic/utf8.c of systemd 252).
_NONCHARACTER = re.compile(
    "[\ufdd0-\ufdef"
    + "".join(f"{chr(p << 16 | 0xFFFE)}{chr(p << 16 | 0xFFFF)}" for p in range(17))
    + "]"
)


def systemd_exec_word(text: str) -> str:
    """One argument of a command line that starts with `:`, so that `$` means nothing."""
    return f'"{_systemd_escaped(text)}"'


def systemd_exec_text(lines: tuple[str, ...]) -> str:
    """One argument, a text in lines, each on a line of its own; their joints reach it as blanks."""
    return '"' + " \\\n    ".join(map(_systemd_escaped, lines)) + '"'


def quadlet_exec_text(lines: tuple[str, ...]) -> str:
    """The same for `Exec=` of podman's generator."""
    return systemd_exec_text(lines).replace("$", "$$")


def compose_text(lines: tuple[str, ...], indent: int) -> str:
    """A text in lines as a literal block of a compose file, in which `$` means nothing."""
    block = "".join(f"\n{' ' * indent}{_carried(line)}" for line in lines)
    return f"|-{block}".replace("$", "$$")


def systemd_environment(name: str, value: str) -> str:
    """The right side of one `Environment=` line."""
    return f'"{_systemd_escaped(f"{env_name(name)}={value}")}"'


def systemd_env_file_line(name: str, value: str) -> str:
    """One assignment in a file for `EnvironmentFile=`, which reads unlike `Environment=`.

    `$` means nothing to systemd here; its backslash lets a shell read the file as well.
    """
    _carried(f"{env_name(name)}={value}")
    _without_noncharacters(value)
    return f'{name}="' + re.sub(r'(["\\$`])', r"\\\1", value) + '"'


def quadlet_exec_word(text: str) -> str:
    """One argument of `Exec=`, which podman's generator writes anew into an `ExecStart=`.

    Refused is what it does not write back as it was: it ends the line at an empty word, takes the
    quotes from a lone `;`, which then starts another command, and makes one stray byte of U+0080
    (pkg/systemd/parser/split.go of podman 5.4).
    """
    if text in ("", ";"):
        raise ValueError(
            f"{text!r} as an argument of its own is lost on its way through podman's generator"
        )
    return _quadlet_word(text)


def quadlet_environment(name: str, value: str) -> str:
    """The right side of one `Environment=` line in a file for podman's generator."""
    return _quadlet_word(f"{env_name(name)}={value}")


def compose_scalar(text: str) -> str:
    """A text as a YAML value of a compose file, in which `$` means nothing."""
    _carried(text)
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("$", "$$")
    return f'"{_HIDDEN.sub(_escape, escaped)}"'


def sh_word(text: str) -> str:
    """One word of a POSIX shell."""
    return shlex.quote(_carried(text))


def env_name(name: str) -> str:
    """The name, if systemd, sh and compose all take it for the name of a variable."""
    if not _ENV_NAME.fullmatch(name):
        raise ValueError(f"{name[:60]!r} is not a name for an environment variable")
    return name


def plain_path(path: str) -> str:
    """The path, if it is absolute and means the same in every dialect without any quotes."""
    if not _PLAIN_PATH.fullmatch(path) or ".." in path.split("/"):
        raise ValueError(
            f"{path[:60]!r} is not an absolute path of letters, digits, `.`, `_`, `+` and `-`"
        )
    return path


def unit_line(line: str) -> str:
    """The line, if systemd reads one that long."""
    if len(line.encode()) > MAX_UNIT_LINE_BYTES:
        raise ValueError("the command line is longer than the 1 MiB that systemd reads")
    return line


def _carried(text: str) -> str:
    """The text, if a process can be given it at all."""
    if "\0" in text:
        raise ValueError(f"{text[:60]!r} has a NUL in it")
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{text[:60]!r} has half a surrogate pair in it") from error
    if size_bytes > MAX_WORD_BYTES:
        raise ValueError(f"{text[:60]!r}... is longer than the 128 KiB that Linux lets a word be")
    return text


def _without_noncharacters(text: str) -> str:
    if _NONCHARACTER.search(text):
        raise ValueError(f"{text[:60]!r} has a code point that Unicode says is no character")
    return text


def _quadlet_word(text: str) -> str:
    if "\x80" in text:
        raise ValueError(f"{text[:60]!r} has U+0080 in it, which podman's generator breaks")
    # The generator's command line has no `:` before it, so systemd expands `$` in it.
    return f'"{_systemd_escaped(text)}"'.replace("$", "$$")


def _systemd_escaped(text: str) -> str:
    _without_noncharacters(_carried(text))
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("%", "%%")
    return _HIDDEN.sub(_escape, escaped)


def _escape(match: re.Match[str]) -> str:
    """An escape that systemd and YAML read alike."""
    code = ord(match[0])
    if match[0] in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[match[0]]
    if match[0].isascii():
        return f"\\x{code:02x}"
    is_wide = code >> 16
    return f"\\U{code:08x}" if is_wide else f"\\u{code:04x}"
