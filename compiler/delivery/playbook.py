"""Runs a playbook of compiled/ansible as a program of its own; Ansible is never imported."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A line of the recap at the end: what each host has been through.
_RECAP = re.compile(r"^(\S+) +: ok=\d+ .*unreachable=(\d+) +failed=(\d+)")
_LONGEST_ANSWER = 4 << 20


class AnsibleMissingError(Exception):
    """There is no ansible-playbook, which brings the plan to its hosts."""


Answer = dict[str, Any]
Told = Callable[[str, Answer], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a playbook came to."""

    code: int
    """Of ansible-playbook, which says little: 4 is a host that is gone and also a faulty file."""
    answers: Mapping[str, Answer]
    """By host; one that was never reached has none."""
    unreachable: frozenset[str]
    text: str
    """What ansible-playbook printed."""


def run_playbook(
    project: Path, playbook: str, words: Sequence[str], variables: Mapping[str, object], told: Told
) -> Run:
    """Runs a playbook, and tells each answer of a host as it comes."""
    program = _program()
    with tempfile.TemporaryDirectory(prefix="modelc-answers-") as folder:
        answers = Path(folder)
        extra = json.dumps({**variables, "modelc_answers": folder})
        command = [program, playbook, "--extra-vars", extra, *words]
        # A configuration of the user's or of a folder above must not take the project's place.
        environment = os.environ | {
            "ANSIBLE_CONFIG": str((project / "ansible.cfg").resolve()),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
        }
        with (answers / ".log").open("w+", encoding="utf-8") as log:
            process = subprocess.Popen(  # noqa: S603  The program is the user's ansible-playbook.
                command,
                cwd=project,
                env=environment,
                stdin=sys.stdin if sys.stdin and sys.stdin.isatty() else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            found: dict[str, Answer] = {}
            while process.poll() is None:
                _collect(answers, found, told)
                try:
                    process.wait(timeout=0.3)
                except subprocess.TimeoutExpired:
                    continue
            _collect(answers, found, told)
            log.seek(0)
            text = log.read()
    recap = {match[1]: match[2] for line in text.splitlines() if (match := _RECAP.match(line))}
    return Run(
        code=process.returncode,
        answers=found,
        unreachable=frozenset(host for host, count in recap.items() if count != "0"),
        text=text,
    )


def _collect(folder: Path, found: dict[str, Answer], told: Told) -> None:
    for path in sorted(folder.glob("*.json")):
        if path.stem in found:
            continue
        try:
            with path.open(encoding="utf-8") as file:
                answer = json.loads(file.read(_LONGEST_ANSWER))
        except ValueError:
            continue  # It is being written.
        if isinstance(answer, dict):
            found[path.stem] = answer
            told(path.stem, answer)


def _program() -> str:
    """ansible-playbook beside this Python, or else on PATH."""
    beside = Path(sys.executable).parent / "ansible-playbook"
    found = str(beside) if beside.exists() else shutil.which("ansible-playbook")
    if found is None:
        raise AnsibleMissingError
    return found
