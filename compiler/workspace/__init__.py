"""Every read and write of the user's tree: inputs in, compiled/ out as one change."""

from compiler.workspace.previous import COMPILED, read_previous
from compiler.workspace.reading import (
    MAX_FILE_BYTES,
    read_optional,
    read_text,
    resource_dir,
)
from compiler.workspace.saving import remove_file, replace_file, write_file, write_marked, write_own
from compiler.workspace.standing import read_tree
from compiler.workspace.starters import write_starters
from compiler.workspace.tree import write_artifacts

__all__ = [
    "COMPILED",
    "MAX_FILE_BYTES",
    "read_optional",
    "read_previous",
    "read_text",
    "read_tree",
    "remove_file",
    "replace_file",
    "resource_dir",
    "write_artifacts",
    "write_file",
    "write_marked",
    "write_own",
    "write_starters",
]
