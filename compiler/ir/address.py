"""Addresses that people paste where a model source belongs: the source that they stand for."""

from __future__ import annotations

import re

_HUB_HOSTS = ("huggingface.co", "hf.co")
_OLLAMA_HOST = "ollama.com"
# Pages of a file, and of a folder or of the repository at a revision (routes of the hub).
_FILE_PAGES = ("blob", "resolve", "raw", "blame", "edit")
_REVISION_PAGES = ("tree", "commit", "commits")
_NO_MODELS = ("collections", "datasets", "docs", "models", "papers", "spaces")
_DEFAULT_BRANCH = "main"
_ADDRESS = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>[^/?#]+)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#.*)?",
    re.IGNORECASE,
)
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_HOST = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::\d+)?")


def source_of_address(text: str) -> str | None:
    """The source that names the same thing as an address; None where that cannot be told.

    Understood are pages of the hub (`https://huggingface.co/org/repo/blob/main/x.gguf`), with or
    without a scheme, `hf://org/repo/x.gguf`, pages of Ollama's library, and `file://` addresses.
    """
    if text.lower().startswith("file://"):
        return _unescaped(text[len("file://") :]) or None
    if text.lower().startswith("hf://"):
        return _source([_unescaped(part) for part in text[len("hf://") :].split("/")])
    host, parts, shown = _page(text)
    if host in _HUB_HOSTS:
        return _hub_source(parts, shown)
    if host == _OLLAMA_HOST:
        return _ollama_source(parts)
    return None


def mirror_of_address(text: str) -> tuple[str, str] | None:
    """Endpoint and source of a page elsewhere that looks like one of the hub's; None for others.

    Whether the endpoint is a mirror of the hub is for the user to know.
    """
    host, parts, shown = _page(text)
    source = _hub_source(parts, shown)
    if "://" not in text or source is None or not _HOST.fullmatch(host):
        return None
    return f"{text.partition('://')[0].lower()}://{host}", source


def _page(text: str) -> tuple[str, list[str], str]:
    """Host without `www.`, parts of the path, and the file that a page of the hub shows."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return "", [], ""
    parts = [_unescaped(part) for part in found["path"].split("/") if part]
    pairs = dict(pair.partition("=")[::2] for pair in (found["query"] or "").split("&"))
    shown = _unescaped(pairs.get("show_file_info", ""))
    return found["host"].lower().removeprefix("www."), parts, shown


def _unescaped(text: str) -> str:
    """With the characters that `%20` and the like stand for."""
    plain = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), text.encode("utf-8", "replace"))
    return plain.decode("utf-8", "replace")


def _hub_source(parts: list[str], shown: str) -> str | None:
    """`parts` are those of the path: organisation, repository, kind of page, revision, file."""
    if len(parts) < 2 or parts[0] in _NO_MODELS:  # noqa: PLR2004 (org and repo)
        return None
    kind, rest = (parts[2], parts[3:]) if len(parts) > 2 else ("", [])  # noqa: PLR2004
    if kind in _FILE_PAGES and rest:
        return _source(parts[:2], rest[0], "/".join(rest[1:]))
    if kind in _REVISION_PAGES and rest:
        folder = "/".join(rest[1:])
        return _source(parts[:2], rest[0], f"{folder}/*.gguf" if folder else "")
    return _source(parts[:2], file=shown) if not kind else _source(parts)


def _source(repository: list[str], revision: str = _DEFAULT_BRANCH, file: str = "") -> str | None:
    """A source in its usual form; more than two parts of a repository are a file inside it.

    Only a GGUF file is a choice among several; of other files the repository's model is meant.
    """
    if len(repository) < 2 or not all(repository[:2]):  # noqa: PLR2004 (org and repo)
        return None
    file = file or "/".join(repository[2:])
    at = "" if revision == _DEFAULT_BRANCH else f"@{revision}"
    choice = f":{file}" if file.lower().endswith(".gguf") else ""
    return f"{repository[0]}/{repository[1]}{at}{choice}"


def _ollama_source(parts: list[str]) -> str | None:
    """`ollama.com/library/qwen3:8b` and `ollama.com/someone/mine`."""
    if len(parts) < 2:  # noqa: PLR2004 (namespace and model)
        return None
    return parts[1] if parts[0] == "library" else f"registry.ollama.ai/{parts[0]}/{parts[1]}"
