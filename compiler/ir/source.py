"""How a model source is written: a path, a repository with revision and selector, Ollama's name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from compiler.ir.address import mirror_of_address, source_of_address

# Spellings that people copy from a browser, from llama.cpp's -hf and from Ollama.
_HUB_PREFIXES = (
    "https://huggingface.co/",
    "https://hf.co/",
    "huggingface.co/",
    "hf.co/",
    "hf://",
)
# The hub's own rule: letters, digits, `-`, `_` and `.`, at most 96 characters a part.
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"
_HUB = re.compile(
    rf"(?P<repository>{_PART}/{_PART})"
    r"(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/+-]{0,127}))?"
    r"(?::(?P<selector>[^:\s\x00-\x1f]{1,200}))?"
)
# Ollama's own names (types/model/name.go): `qwen3:8b`, or in full with the registry's host.
_OLLAMA_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,79})"
_OLLAMA = re.compile(
    rf"(?:registry\.ollama\.ai/(?P<namespace>{_OLLAMA_PART})/)?"
    rf"(?P<model>{_OLLAMA_PART})(?::(?P<tag>{_OLLAMA_PART}))?"
)
_LOCAL_STARTS = ("./", "../", "/", "~/")
_MAX_LENGTH = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaName:
    """A model as Ollama names it."""

    namespace: str
    model: str
    tag: str
    bare: bool
    """Written without the registry's host: it may be a hub's name whose organisation is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceName:
    """A model source taken apart. Exactly one of `path`, `repository`, `ollama` is given."""

    path: str | None = None
    """A local file or folder, as written."""
    repository: str | None = None
    """`org/repo` on the hub."""
    ollama: OllamaName | None = None
    revision: str | None = None
    """Branch, tag or commit on the hub; None is the default branch."""
    selector: str | None = None
    """A quantization (`Q4_K_M`) or a file glob (`*Q4_K_M*.gguf`) inside the repository."""


def is_local(source: str) -> bool:
    """Whether the source lies on disk: a path, or a model that Ollama has pulled."""
    return _is_path(source) or is_ollama(source)


def is_ollama(source: str) -> bool:
    """Whether the source is a name of Ollama's: one word, or in full with the registry's host."""
    return not _is_path(source) and _OLLAMA.fullmatch(source) is not None


def names_gguf(source: str) -> bool:
    """Whether a source is written like one of GGUF files, for those that nobody has read yet."""
    match = _HUB.fullmatch(_without_prefix(source))
    chosen = match is not None and match["selector"] is not None
    return "gguf" in source.lower() or is_ollama(source) or chosen


def _is_path(source: str) -> bool:
    """It starts like one, or it names a .gguf file."""
    if source in {".", "..", "~"} or source.startswith(_LOCAL_STARTS):
        return True
    named = source.lower().endswith(".gguf") and ":" not in source
    return named and not source.lower().startswith(_HUB_PREFIXES)


def parse_source(source: str) -> SourceName:
    """Take a source apart; pure, nothing is looked up.

    Raises ValueError when it is neither a path, nor `org/repo[@revision][:quant or file glob]`, nor
    a name of Ollama's (`qwen3:8b`).
    """
    if not source or len(source) > _MAX_LENGTH or not source.isprintable():
        raise ValueError("a model source is one line of at most 1024 printable characters")
    if _is_path(source):
        return SourceName(path=source)
    pulled = _OLLAMA.fullmatch(source)
    if pulled is not None:
        name = OllamaName(
            namespace=pulled["namespace"] or "library",
            model=pulled["model"],
            tag=pulled["tag"] or "latest",
            bare=pulled["namespace"] is None,
        )
        return SourceName(ollama=name)
    match = _HUB.fullmatch(_without_prefix(source))
    if match is None:
        raise ValueError(f"`{source[:80]}` is neither a path nor a repository; {_way_out(source)}")
    parts = match.groupdict()
    if ".." in (parts["selector"] or "").split("/") or ".." in (parts["revision"] or ""):
        raise ValueError(f"`{source[:80]}` points outside its repository")
    return SourceName(
        repository=parts["repository"], revision=parts["revision"], selector=parts["selector"]
    )


def _without_prefix(source: str) -> str:
    for prefix in _HUB_PREFIXES:
        if source.startswith(prefix):
            return source.removeprefix(prefix).rstrip("/")
    return source


def _is_source(text: str) -> bool:
    try:
        parse_source(text)
    except ValueError:
        return False
    return True


def _way_out(source: str) -> str:
    meant = source_of_address(source) or source.rstrip("/")
    if meant != source and _is_source(meant):
        return f"write `{meant}`"
    mirror = mirror_of_address(source)
    if mirror is not None and _is_source(mirror[1]):
        return f"for a mirror of the hub set HF_ENDPOINT={mirror[0]} and write `{mirror[1]}`"
    repository, _, rest = source.partition(":")
    if "/" not in repository:
        return "write `org/repo` for the hub or `./path` for a local path"
    if repository.count("/") > 1 and not rest:
        first, second, tail = repository.split("/", 2)
        return f"a file inside a repository is written `{first}/{second}:{tail[:60]}`"
    return "write `org/repo[@revision][:quant or file]` or `./path`"
