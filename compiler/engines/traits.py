"""What an engine is, whatever it runs: answers that hang on no model and no place.

A description is light, so that the keys of the user's files can be made from it without importing
any memory law.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compiler.ir.facts import ModelFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """One engine. Names of arguments are with underscores, as models.yaml has them."""

    title: str
    """As people write it: `vLLM`."""
    server: str
    """The program that takes the flags, as people write it: `llama-server`."""
    newest: str
    """The newest version that the law was checked against, as the inventory writes it."""
    version_key: Literal["version", "build"]
    """The key of the inventory that says the version."""
    image: str
    """Where the project publishes its image, with `{version}` for the version."""
    program: str
    """The program where it is found by its name alone."""
    usual_bin: str
    """The program on a host that does not say another."""
    image_program: str
    """The program inside the published image; a host's `bin` is not in there."""
    image_folder: str
    """Folder of the published image whose files are there without the host; ends with `/`."""
    start_seconds: int
    """How long a start takes at most, beside reading the weights: compiling, capturing graphs. A
    generous limit costs nothing: it only bounds how long a hung start is waited for."""
    cuts: Literal["ranks", "layers"]
    """How a replica is cut over GPUs: into equal ranks, or by layers over any number of GPUs."""
    cpu_beside_gpus: bool
    """Whether it serves from RAM on a host that has GPUs."""
    offloads: bool
    """Whether layers that do not fit may stay in RAM."""
    formats: tuple[ModelFormat, ...]
    """Formats that it serves where a service names no engine."""
    keys: frozenset[str]
    """Keys of a service that only some engines read, and this one does."""
    key_variable: str
    """The variable in which the engine finds the key that its clients must show."""
    key_file: str = ""
    """The argument that names a file of such keys; empty without one."""
    stages: tuple[str, ...] = ()
    """Arguments by which a replica takes several times as many GPUs."""
    stretching: tuple[str, ...] = ()
    """How the arguments begin that stretch positions beyond what the model was made for."""
    reads: tuple[str, ...] = ()
    """Arguments that name a file or a folder that is read."""
    paths_or_names: frozenset[str] = frozenset()
    """Of these the ones that may as well be an id on a hub or a word."""
    writes: tuple[str, ...] = ()
    """Arguments that name a file or a folder that is written."""
    logs: str = ""
    """Of these the one that is a log, which the service has anyhow; empty without one."""
    tokens_line: str = ""
    """What it logs at its start of the tokens that its KV cache holds: a regular expression with a
    group for the number; empty for one that does not say it."""
    layers_line: str = ""
    """The same of the layers that it has put on GPUs."""
    aliases: tuple[str, ...] = ()
    """What people write for its name, in lower case."""

    def image_of(self, version: str) -> str:
        """The published image of a version."""
        return self.image.format(version=version)
