"""Diagnostics in SARIF 2.1.0, which code hosts show at the lines of the user's files.

Facts about the format: OASIS Static Analysis Results Interchange Format 2.1.0, sections 3.19
(reportingDescriptor), 3.27 (result) and 3.29 (physicalLocation).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from compiler.codes import CODES
from compiler.diagnostics import Diagnostic
from compiler.views.diagnostics import as_read
from compiler.views.terminal import json_text, safe_text

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# GitHub reads at most 25,000 results of a run and shows the first 5,000 of them.
_MAX_RESULTS = 5000


def diagnostics_sarif(diagnostics: Sequence[Diagnostic], *, version: str, prefix: str) -> str:
    """One run with one result a diagnostic; `prefix` leads from the repository to the paths."""
    shown = as_read(diagnostics)[:_MAX_RESULTS]
    codes = sorted({each.code for each in shown})
    seen: Counter[str] = Counter()
    results = [_result(each, codes.index(each.code), prefix, seen) for each in shown]
    run = {
        "tool": {
            "driver": {
                "name": "modelc",
                "semanticVersion": version,
                "rules": [_rule(code) for code in codes],
            }
        },
        # Paths are relative to the root of the repository, wherever that is checked out.
        "originalUriBaseIds": {"ROOT": {"description": {"text": "The repository."}}},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return json_text({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def fingerprint(diagnostic: Diagnostic, seen: Counter[str]) -> str:
    """What stays the same when lines above a finding come and go: code, file and what is said.

    `seen` counts equal findings, so that two of them are told apart.
    """
    location = diagnostic.location
    said = "\n".join([diagnostic.code, location.path if location else "", diagnostic.detail])
    key = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
    seen[key] += 1
    return f"{key}:{seen[key]}"


def _rule(code: str) -> dict[str, object]:
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in code.split("-")),
        "shortDescription": {"text": f"{CODES[code].summary}."},
    }


def _result(
    diagnostic: Diagnostic, rule_index: int, prefix: str, seen: Counter[str]
) -> dict[str, object]:
    result: dict[str, object] = {
        "ruleId": diagnostic.code,
        "ruleIndex": rule_index,
        "level": diagnostic.severity.value,
        "message": {"text": _message(diagnostic)},
        "partialFingerprints": {"primaryLocationLineHash": fingerprint(diagnostic, seen)},
    }
    location = diagnostic.location
    # GitHub refuses a run with a result that is nowhere: what no line is to blame for is shown at
    # the first line of the spec.
    path, line, column = (
        (location.path, location.line, location.column) if location else ("models.yaml", 1, 1)
    )
    result["locations"] = [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": _uri(f"{prefix}{path}"), "uriBaseId": "ROOT"},
                "region": {"startLine": line, "startColumn": column},
            }
        }
    ]
    return result


def _message(diagnostic: Diagnostic) -> str:
    lines = [safe_text(line) for line in diagnostic.detail.splitlines()]
    lines += [
        f"{safe_text(group.title)}: {', '.join(map(safe_text, group.names))}"
        for group in diagnostic.groups
    ]
    lines += [f"hint: {safe_text(hint)}" for hint in diagnostic.hints]
    return "\n".join(lines)


def _uri(path: str) -> str:
    """A relative reference of RFC 3986: all but unreserved characters and `/` percent-encoded."""
    kept = "-._~/"
    return "".join(
        character
        if (character.isascii() and character.isalnum()) or character in kept
        else "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))
        for character in path.removeprefix("./")
    )
