"""vLLM on a machine, in an environment of the machine's own over packages of ours.

An environment knows its folders by their paths, and those of ours are below a home, which is hidden
from units. So the packages and the Python that they were installed for stand in the machine under
other paths, and there the environment is made anew, as a user would make it.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.machine import Machine

HOME = "/opt/vllm"
_PYTHON = "/opt/python"
_ASK = """
import json, sys, sysconfig
print(json.dumps([sys.prefix, sys.base_prefix, sysconfig.get_path("purelib")]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An environment of ours that has vLLM."""

    prefix: Path
    base_prefix: Path
    """Its Python's own folder."""
    packages: Path

    def folders(self) -> dict[str, Path]:
        """What a machine must have of ours, by the path there."""
        packages = f"{HOME}/{self.packages.relative_to(self.prefix)}"
        return {_PYTHON: self.base_prefix, packages: self.packages}

    def make(self, machine: Machine) -> None:
        """The environment on a machine that has the folders, with the command `vllm`."""
        # A Python with a library of its own knows it by the folder that it was built for.
        machine.write("/etc/ld.so.conf.d/python.conf", f"{_PYTHON}/lib\n")
        version = self.packages.parent.name
        machine.run(f"ldconfig && {_PYTHON}/bin/{version} -m venv --without-pip {HOME}")
        _, lines = (self.prefix / "bin" / "vllm").read_text(encoding="utf-8").split("\n", 1)
        machine.write(f"{HOME}/bin/vllm", f"#!{HOME}/bin/python\n{lines}", mode=0o755)


def environment_of(vllm: Path) -> Environment:
    """That of a command `vllm`."""
    command = [str(vllm.with_name("python")), "-c", _ASK]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    prefix, base_prefix, packages = map(Path, json.loads(said))
    return Environment(prefix=prefix, base_prefix=base_prefix, packages=packages)
