"""What another version of an engine would do, as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.ir.names import folded
from compiler.ir.units import demand_mib
from compiler.ir.upgrade import FlagChange, Stopped, Upgrade, VersionChange, Weighed
from compiler.views.diff import diff_markdown, diff_text
from compiler.views.markdown import code, escaped, table
from compiler.views.terminal import columns, indented, json_text, paint, prose, safe_record

_ROWS = ("service", "variant", "before", "after", "change", "of it")


def upgrade_text(found: Upgrade, *, color: bool, width: int | None = None) -> str:
    """The versions, what no longer starts, what takes more or less, the flags, and the diff."""
    shown = safe_record(found)
    inner = None if width is None else width - 2
    blocks = [
        [paint(line, "bold", color=color) for line in map(_version_line, shown.versions)],
        _titled("Does not start as before", _stopped_lines(shown, inner), color=color),
        _titled("Needs more or less to start, in MiB", _weighed_lines(shown), color=color),
        _titled("Flags that come or go", _flag_lines(shown, inner), color=color),
        _titled("Assumed of the new version", _assumed_lines(shown, inner), color=color),
    ]
    text = "\n\n".join("\n".join(block) for block in blocks if block)
    return f"{text}\n\n{diff_text(found.diff, color=color, width=width)}"


def upgrade_markdown(found: Upgrade) -> str:
    """The same for a comment on a pull request."""
    stopped = [f"- **{code(each.service)}** {escaped(line)}" for each, line in _stopped(found)]
    rows = [(code(row[0]), *map(escaped, row[1:])) for row in _weighed_rows(found)]
    flags = [f"- {code(_flag(each))}: {escaped(folded(each.services))}" for each in found.flags]
    blocks = [
        [f"**{code(_version_line(each))}**" for each in found.versions],
        *([["Does not start as before:"], stopped] if stopped else []),
        *([["Needs more or less to start, in MiB:"], table(_ROWS, rows)] if rows else []),
        *([["Flags that come or go:"], flags] if flags else []),
        [f"- Assumed: {escaped(each)}" for each in found.assumed],
    ]
    text = "\n\n".join("\n".join(block) for block in blocks if block)
    return f"{text}\n\n{diff_markdown(found.diff)}"


def upgrade_json(found: Upgrade) -> str:
    """The same for programs."""
    return json_text(found.model_dump(mode="json"))


def _titled(title: str, lines: list[str], *, color: bool) -> list[str]:
    return [paint(title, "bold", color=color), *indented(lines)] if lines else []


def _version_line(each: VersionChange) -> str:
    if each.before == each.after:
        return f"{each.engine} is {each.after} on {folded(each.hosts)} already"
    return (
        f"{each.engine} {each.before} -> {each.after} on {folded(each.hosts)}; nothing is written"
    )


def _stopped(found: Upgrade) -> Iterator[tuple[Stopped, str]]:
    for each in found.stopped:
        match each.why:
            case "refused":
                left = f" {folded(each.others)} is left." if each.others else ""
                for detail in each.details:
                    yield each, f"{detail}{left}"
            case "too-large":
                yield each, f"{_replicas(each)}: no GPU holds it. {' '.join(each.details)}"
            case "crowded":
                yield each, f"{_replicas(each)}: it fits, and not beside what else is placed."


def _replicas(each: Stopped) -> str:
    return f"{each.replicas_before} -> {each.replicas_after} replicas"


def _stopped_lines(found: Upgrade, width: int | None) -> list[str]:
    return [
        line
        for each, text in _stopped(found)
        for line in prose(f"{each.service}: {text}", width=width, hanging=2)
    ]


def _weighed_rows(found: Upgrade) -> list[tuple[str, ...]]:
    return [
        (
            each.service,
            each.variant,
            f"{demand_mib(each.before_bytes):,}",
            f"{demand_mib(each.after_bytes):,}",
            _signed(each.after_bytes - each.before_bytes),
            _parts(each),
        )
        for each in found.weighed
        if each.parts or each.ram_before_bytes != each.ram_after_bytes
    ]


def _weighed_lines(found: Upgrade) -> list[str]:
    rows = _weighed_rows(found)
    return columns([_ROWS, *rows], right=(2, 3, 4)) if rows else []


def _parts(each: Weighed) -> str:
    words = [f"{p.part} {_signed(p.after_bytes - p.before_bytes)}" for p in each.parts]
    if each.n_gpus and each.ram_before_bytes != each.ram_after_bytes:
        words.append(f"RAM {_signed(each.ram_after_bytes - each.ram_before_bytes)}")
    return ", ".join(words)


def _signed(size_bytes: int) -> str:
    mib = demand_mib(abs(size_bytes))
    return f"{'-' if size_bytes < 0 else '+'}{mib:,}" if mib else "0"


def _flag(each: FlagChange) -> str:
    if each.before is None:
        return f"+ {each.flag} {each.after or ''}".rstrip()
    return f"- {each.flag} {each.before}".rstrip()


def _flag_lines(found: Upgrade, width: int | None) -> list[str]:
    return [
        line
        for each in found.flags
        for line in prose(f"{_flag(each)}  ({folded(each.services)})", width=width, hanging=2)
    ]


def _assumed_lines(found: Upgrade, width: int | None) -> list[str]:
    return [line for each in found.assumed for line in prose(f"- {each}", width=width, hanging=2)]
