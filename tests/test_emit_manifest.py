"""A manifest comes back as it was written, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from compiler.ir.manifest import FIRST_LINE, ManifestEntry, manifest_text, parse_manifest

SHA = "a" * 64


def entry(path: str) -> ManifestEntry:
    """An entry for a path."""
    return ManifestEntry(path=path, sha256=SHA, semantic_digest="b" * 64)


def check_refused(text: str, message: str) -> None:
    """Expects that a text is no manifest."""
    with pytest.raises(ValueError, match=message):
        parse_manifest(text)


def test_a_manifest_comes_back_sorted() -> None:
    entries = (entry("systemd/b.service"), entry("compose.yaml"))
    assert parse_manifest(manifest_text(entries)) == tuple(sorted(entries, key=lambda e: e.path))


def test_a_manifest_without_files_comes_back() -> None:
    assert parse_manifest(manifest_text(())) == ()


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../b", "a//b", "./a", ".", "..", "a/", "a\\b", "a b", ""]
)
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    check_refused(f"{FIRST_LINE}\n{SHA}  {SHA}  {path}\n", "line 2")


@pytest.mark.parametrize("text", ["", "\n", f"{SHA}  {SHA}  a\n", "# modelc manifest 2\n"])
def test_another_first_line_is_refused(text: str) -> None:
    check_refused(text, "line 1")


@pytest.mark.parametrize("line", ["", "x", f"{SHA}  a", f"{SHA[1:]}  {SHA}  a", f"{SHA} {SHA} a"])
def test_another_form_of_a_line_is_refused(line: str) -> None:
    check_refused(f"{FIRST_LINE}\n{line}\n", "line 2")


@pytest.mark.parametrize("paths", ["b a", "a a"])
def test_a_path_twice_or_out_of_order_is_refused(paths: str) -> None:
    lines = [f"{SHA}  {SHA}  {path}" for path in paths.split()]
    check_refused("\n".join([FIRST_LINE, *lines, ""]), "sorted")
