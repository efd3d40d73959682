"""Writes compiler/engines/llamacpp/flags/flags.json: which build of llama-server has which flags.

    python -m tables.llamacpp_flags

reads `common/arg.cpp` of every build of tests/oracle/llamacpp_source.py, some 30 downloads of
27 MB, and of the source that the memory law transcribes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.oracle import llamacpp_source

TABLE = (
    Path(__file__).resolve().parent.parent
    / "compiler"
    / "engines"
    / "llamacpp"
    / "flags"
    / "flags.json"
)

_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\]|\\.)')|(?P<comment>//[^\n]*|/\*.*?\*/)""", re.DOTALL
)
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_EXAMPLES = re.compile(r"set_examples\(\{([^}]*)\}")
_EXCLUDES = re.compile(r"set_excludes\(\{([^}]*)\}")
_LAMBDA = re.compile(r"\]\s*\(([^)]*)\)")

Kinds = dict[str, str]


def main() -> None:
    """Write the table."""
    found: dict[int, Kinds] = {}
    for build in llamacpp_source.RELEASES:
        with TemporaryDirectory() as temporary:
            tree = Path(temporary) / "source"
            llamacpp_source.fetch(build, tree)
            found[build] = flags_of(tree)
        print(f"b{build}: {len(found[build])} flags")
    found[llamacpp_source.STUDIED] = flags_of(llamacpp_source.source(llamacpp_source.STUDIED))
    TABLE.write_text(table(found), encoding="utf-8")


def table(found: dict[int, Kinds]) -> str:
    """The table as JSON, a flag a line: spans of [kind, first build, last build or null]."""
    builds = sorted(found)
    lines = []
    for flag in sorted(set().union(*found.values())):
        spans: list[list[str | int | None]] = []
        before: int | None = None
        for build in builds:
            kind = found[build].get(flag)
            if kind is not None:
                if spans and spans[-1][0] == kind and spans[-1][2] == before:
                    spans[-1][2] = build
                else:
                    spans.append([kind, build, build])
            before = build
        for span in spans:
            if span[2] == builds[-1]:
                span[2] = None
        lines.append(f"  {json.dumps(flag)}: {json.dumps(spans)}")
    return (
        "{\n" + f'"builds": {json.dumps(builds)},\n"flags": {{\n' + ",\n".join(lines) + "\n}\n}\n"
    )


def flags_of(tree: Path) -> Kinds:
    """Kinds of the long flags that llama-server takes, without their dashes."""
    kinds: Kinds = {}
    for option in _options((tree / "common" / "arg.cpp").read_text(encoding="utf-8")):
        if _for_server(option):
            kinds |= _kinds(option)
    return kinds


def _options(text: str) -> Iterator[str]:
    """Each `add_opt(...)` with all that is called on it."""
    text = _TOKEN.sub(lambda match: match["text"] or " ", text)
    for match in re.finditer(r"add_opt\(", text):
        yield text[match.start() : _closing(text, match.end() - 1)]


def _closing(text: str, position: int) -> int:
    """Where the bracket at a position is closed."""
    depth = 0
    while True:
        token = _TOKEN.match(text, position)
        if token:
            position = token.end()
            continue
        depth += (text[position] in "([{") - (text[position] in ")]}")
        position += 1
        if not depth:
            return position


def _for_server(option: str) -> bool:
    examples, excludes = _EXAMPLES.search(option), _EXCLUDES.search(option)
    if examples and not re.search("EXAMPLE_(SERVER|COMMON)", examples[1]):
        return False
    if excludes and "EXAMPLE_SERVER" in excludes[1]:
        return False
    return "set_preset_only" not in option and "arg_removed(" not in option


def _kinds(option: str) -> Kinds:
    start = option.index("{")
    end = _closing(option, start)
    names = _TEXT.findall(option[start:end])
    rest = option[end:]
    negative = re.match(r"\s*,\s*\{", rest)
    if negative:  # `--x` and `--no-x` share one entry.
        end = _closing(rest, negative.end() - 1)
        names += _TEXT.findall(rest[:end])
        rest = rest[end:]
    # Help texts have links in them, which look like lambdas.
    handler = _LAMBDA.search(_TEXT.sub('""', rest))
    parameters = handler[1].split(",")[1:] if handler else []
    kind = {0: "switch", 2: "pair"}.get(len(parameters), "text")
    if len(parameters) == 1:
        words = parameters[0].split()
        kind = {"int": "integer", "bool": "switch"}.get(words[0], "text")
    return {name[2:]: kind for name in names if name.startswith("--")}


if __name__ == "__main__":
    main()
