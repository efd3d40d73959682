"""What the stand-in is, whatever it runs."""

from __future__ import annotations

from compiler.engines.traits import Traits

TRAITS = Traits(
    title="Tiny",
    server="tiny-server",
    newest="1.2",
    version_key="version",
    image="example.org/tiny:{version}",
    program="tiny-server",
    usual_bin="/opt/tiny/tiny-server",
    image_program="/tiny-server",
    image_folder="/tiny/",
    start_seconds=30,
    cuts="ranks",
    cpu_beside_gpus=True,
    offloads=False,
    # Where no engine is named the others are asked first.
    formats=("safetensors",),
    keys=frozenset(),
    key_variable="TINY_KEY",
    reads=("words_file",),
    writes=("journal",),
)
