"""What libllama is asked about: a grid of shapes, flags and GPUs, and random draws beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from random import Random

from compiler.engines.llamacpp.ggml.cuda import attention_supported, attention_types
from compiler.engines.llamacpp.launch.options import NO_MOVES, Moves, Options, Override
from compiler.engines.llamacpp.model.quants import is_quantized
from compiler.engines.llamacpp.model.shape import Shape, read_shape
from compiler.resolve.gguf import read_gguf
from compiler.resolve.gguf_facts import gguf_facts
from compiler.resolve.ranges import LocalFile
from tests.generators import gguf_shapes
from tests.oracle import drawn, model_files
from tests.oracle.model_files import MODELS
from tests.oracle.probe import Case, Flash

_QUANTS = (None, None, None, "q4_0", "q8_0", "q5_K", "q6_K", "f16")
_CACHE_TYPES = ("f16", "f16", "f16", "f16", "q8_0", "q8_0", "q4_0", "f32", "bf16", "q5_1")
_FLASH: tuple[Flash, ...] = ("auto", "on", "off")
_DRAWN = 1 / 3
_COMPUTES = (89, 89, 89, 61, 70, 75, 86, 90, 120)


def write_model(case: Case, folder: Path) -> Path:
    """The GGUF file of a case, written if it is not there; the weights are a hole."""
    path = folder / case.file_name
    if path.exists():
        return path
    model_files.write_model(case.model, case.quant, path)
    return path


@lru_cache(maxsize=512)
def shape_of(path: Path) -> Shape:
    """The model of a file as the law sees it, read as `modelc lock` reads it."""
    return read_shape(gguf_facts([read_gguf(LocalFile(path, path.name))]))


def grid(folder: Path, *, quick: bool) -> Iterator[Case]:
    """Every model under the flags that change its graph, on one GPU, several and none."""
    for model in MODELS:
        plain = Case(model=model, options=_plain())
        shape = shape_of(write_model(plain, folder))
        for gpus in (0, 1, 2, 4):
            for options in _quick_flags(shape) if quick else _flags(shape, gpus):
                yield settled(replace(plain, options=replace(options, gpus=gpus)), shape)


def draws(folder: Path, *, count: int, seed: int) -> Iterator[Case]:
    """Random models and shapes, quantizations, flags and GPUs; equal seeds draw equal cases."""
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    found: list[Case] = []
    while len(found) < count:
        # Every third model is one that nobody chose.
        model = drawn.name_of(random) if random.random() < _DRAWN else random.choice(MODELS)
        known = model in gguf_shapes.SHAPES or model.startswith(drawn.PREFIX)
        quant = random.choice(_QUANTS) if known else None
        case = Case(model=model, quant=quant, options=_plain())
        shape = shape_of(write_model(case, folder))
        compute, flash = random.choice(_COMPUTES), random.choice(_FLASH)
        case = replace(case, compute=compute, flash=flash, options=_draw(shape, random))
        found.append(settled(case, shape))
    # One process answers neighbours that see the same GPUs.
    yield from sorted(found, key=lambda case: (case.options.gpus, case.compute))


def settled(case: Case, shape: Shape) -> Case:
    """The case with what follows from its flags: attention under `auto`, layers, loading."""
    options = case.options
    most = shape.layers_in_file + 1
    layers = min(options.gpu_layers, most) if options.gpus else 0
    flash, attention = _attention(case, shape)
    return replace(
        case,
        flash=flash,
        options=replace(
            options,
            gpu_layers=layers,
            capabilities=(case.compute,) * options.gpus,
            flash_attention=attention,
            moves=options.moves if options.gpus else NO_MOVES,
            memory_map=options.memory_map and bool(options.gpus),
        ),
    )


def _attention(case: Case, shape: Shape) -> tuple[Flash, bool]:
    """What libllama is told of flash attention, and what it then does."""
    options = case.options
    if is_quantized(options.cache_type_v) or case.flash == "on":
        return "on", True  # A quantized V is refused without.
    if case.flash == "off":
        return "off", False
    types = attention_types(options.cache_type_k, options.cache_type_v)
    if options.gpus and not (types and attention_supported(shape)):
        # Under `auto` libllama lays V out before it knows; modelc says what it expects.
        return "off", False
    return "auto", True


def _plain() -> Options:
    return Options(
        cells=8192, slots=1, unified=False, batch=2048, ubatch=512, gpu_layers=999, gpus=1
    )


def _quick_flags(shape: Shape) -> Iterator[Options]:
    yield replace(_plain(), cells=32768, slots=4, unified=not shape.encoder)


def _flags(shape: Shape, gpus: int) -> Iterator[Options]:
    """One option record for each way in which flags change the graph."""
    plain = _plain()
    yield plain
    yield replace(plain, cells=32768, slots=4, unified=True)
    yield replace(plain, cells=32768, slots=4, cache_type_k="q8_0", cache_type_v="q8_0")
    yield replace(plain, cells=131072, slots=2, cache_type_k="q4_0", cache_type_v="q4_0")
    yield replace(plain, ubatch=2048)
    yield replace(plain, ubatch=2048, mode="embed", memory_map=True)
    yield replace(plain, batch=16, ubatch=16)
    if not gpus:
        return
    yield replace(plain, gpu_layers=max(1, shape.layers_in_file // 3))
    yield replace(plain, gpu_layers=shape.layers_in_file, slots=2)
    yield replace(plain, kv_on_gpu=False)
    yield replace(plain, gpu_layers=max(1, shape.layers_in_file // 2), op_offload=False)
    yield replace(plain, moves=Moves(overrides=(Override(pattern="ffn_down", gpu=None),)))
    if gpus > 1:
        yield replace(plain, tensor_split=tuple(range(gpus, 0, -1)))
        yield replace(plain, split_mode="none", main_gpu=1)
    if shape.experts.count:
        yield replace(plain, moves=Moves(cpu_moe=True))
        yield replace(plain, moves=Moves(cpu_moe_layers=shape.layers_in_file // 2))
    if shape.window:
        yield replace(plain, cells=32768, sliding_full=True)


def _draw(shape: Shape, random: Random) -> Options:
    gpus = random.choice((0, 1, 1, 1, 2, 2, 3, 4))
    slots = random.choice((1, 1, 2, 3, 4, 8, 16))
    ubatch = random.choice((32, 128, 256, 512, 512, 512, 768, 1024, 2048))
    type_k = random.choice(_CACHE_TYPES)
    most = shape.layers_in_file + 1
    partial = random.random() < 0.3
    moves = NO_MOVES
    if shape.experts.count and random.random() < 0.4:
        few = Moves(cpu_moe_layers=random.randint(1, most - 1))
        moves = random.choice((Moves(cpu_moe=True), few))
    split: tuple[int, ...] = ()
    if gpus > 1 and random.random() < 0.7:
        split = tuple(random.randint(1, 24) for _ in range(gpus))
    embeds = shape.family.encoder or random.random() < 0.1
    return Options(
        cells=random.randint(1, 64) * 1024 + random.choice((0, 0, 1, 100)),
        slots=slots,
        unified=random.random() < 0.5,
        batch=max(ubatch, random.choice((512, 2048))) if not embeds else ubatch,
        ubatch=ubatch,
        gpu_layers=random.randint(1, most) if partial else most,
        gpus=gpus,
        tensor_split=split,
        cache_type_k=type_k,
        # Different types are rare, and CUDA has no attention for them.
        cache_type_v=type_k if random.random() < 0.9 else random.choice(_CACHE_TYPES),
        sliding_full=bool(shape.window) and random.random() < 0.2,
        kv_on_gpu=random.random() > 0.07,
        op_offload=random.random() > 0.07,
        moves=moves,
        mode="embed" if embeds else "generate",
        memory_map=random.random() < 0.3,
    )
