"""compiler/ir/ggml_types.py: ggml's tensor types and file types, from the gguf package.

The package is too slow to import for a command, and behind the source that the memory law
transcribes: what it lacks, and what it has otherwise, stands below with its source.
"""

from __future__ import annotations

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from tables.generated import main

PATH = "compiler/ir/ggml_types.py"

# ggml-common.h of 2026-10-01: `block_q8_1` has two halves of a sum and 32 bytes, and Q2_0 is new.
_OTHERWISE = {9: ("q8_1", 32, 36), 42: ("q2_0", 64, 18)}
# A file whose type nobody wrote down says so by a flag on top of the type.
_NO_TYPE = {LlamaFileType.GUESSED}

_HEAD = '''"""ggml's tensor types and file types.

Made by `make tables` (tables/ggml_types.py) from the gguf package; not to be edited.
"""

from __future__ import annotations

'''


def text() -> str:
    """The whole module."""
    types = {
        kind.value: (_name(kind.name), *GGML_QUANT_SIZES[kind]) for kind in GGMLQuantizationType
    }
    types |= _OTHERWISE
    lines = ["# Number in a file: name, elements of a block, bytes of a block."]
    lines.append("TYPES: dict[int, tuple[str, int, int]] = {")
    lines += [f'    {n}: ("{types[n][0]}", {types[n][1]}, {types[n][2]}),' for n in sorted(types)]
    lines += ["}", "", "# general.file_type, named as people name the files."]
    lines.append("FILE_TYPES: dict[int, str] = {")
    lines += [
        f'    {kind.value}: "{kind.name.removeprefix("MOSTLY_").removeprefix("ALL_")}",'
        for kind in sorted(LlamaFileType)
        if kind not in _NO_TYPE
    ]
    return _HEAD + "\n".join([*lines, "}", ""])


def _name(name: str) -> str:
    """`Q4_K` is `q4_K` in ggml."""
    return name.lower().replace("_k", "_K")


if __name__ == "__main__":
    main(PATH, text)
