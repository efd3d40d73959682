"""Templates, and how an artifact and its semantic digest come out of one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.ir.artifact import Artifact
from compiler.ir.plan import digest

if TYPE_CHECKING:  # Rendering starts slowly, and most commands of modelc emit nothing.
    from jinja2 import Template

TEMPLATE_NAMES = (
    "systemd/replica.service",
    "systemd/replica.env",
    "systemd/modelc.target",
    "systemd/modelc.slice",
    "systemd/sysusers.conf",
    "systemd/tmpfiles.conf",
    "compose/compose.yaml",
    "quadlet/replica.container",
    "quadlet/tmpfiles.conf",
    "script/lib.sh",
    "script/start.sh",
    "script/stop.sh",
    "script/status.sh",
    "script/run.sh",
    "ansible/ansible.cfg",
    "ansible/deliver.yml",
    "ansible/status.yml",
    "ansible/rollback.yml",
    "ansible/roles/modelc/defaults/main.yml",
    "ansible/roles/modelc/meta/main.yml",
    "ansible/roles/modelc/tasks/main.yml",
)

# A program, and no template: what is in it that looks like one stays as it is.
HOST_PROGRAM = "ansible/roles/modelc/files/modelc_host.py"

# Inside the package once installed, beside it in a checkout.
_FOLDERS = (Path(__file__).parents[1] / "templates", Path(__file__).parents[2] / "templates")

# What a template says to people only: a whole line of comment, for which all dialects that we emit
# have the same sign, an empty line, blanks at the end of one.
_NO_MEANING = re.compile(r"^[ \t]*(?:#(?!!).*)?\n|[ \t]+$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """All templates, each twice."""

    full: Mapping[str, Template]
    semantic: Mapping[str, Template]
    """The same without what is for people only, so that another modelc with other comments restarts
    nothing. It is taken out before any value is put in: a `#` or an empty line of a value stays."""
    host_program: str
    """The program that changes a host."""


def load_templates() -> Templates:
    """The templates of this modelc."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader([str(folder) for folder in _FOLDERS])
    environment = Environment(
        loader=loader,
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - this is no HTML; values come here quoted.
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    sources = {name: loader.get_source(environment, f"{name}.j2")[0] for name in TEMPLATE_NAMES}
    return Templates(
        host_program=loader.get_source(environment, HOST_PROGRAM)[0],
        full={name: environment.from_string(source) for name, source in sources.items()},
        semantic={
            name: environment.from_string(meaning(source)) for name, source in sources.items()
        },
    )


def meaning(source: str) -> str:
    """A template's source without what is for people only."""
    return _NO_MEANING.sub("", source)


def render(templates: Templates, name: str, path: str, values: Mapping[str, object]) -> Artifact:
    """The artifact that a template makes of quoted values; a script can be executed.

    `provenance` is the semantic digest, which the manifest lists too, and empty in what that is
    taken of. A file names no digest of more than its own part of the plan: a change of one host
    would change a line in every file of all others.
    """
    semantic = digest(templates.semantic[name].render(values, provenance=""))
    return Artifact(
        path=path,
        text=templates.full[name].render(values, provenance=semantic),
        executable=path.endswith(".sh"),
        semantic_digest=semantic,
    )
