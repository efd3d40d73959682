"""What was read of a model: header values and tensors, in a form that fits a reviewable lock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Task = Literal["generate", "embed", "rerank", "classify"]
ModelFormat = Literal["gguf", "safetensors", "config"]
ModelRole = Literal["model", "mmproj", "adapter"]
HeaderValue = JsonValue


# No published model comes near; a lock can be damaged or edited by hand.
MAX_LAYERS = 4096


class Record(BaseModel):
    """A frozen record that crosses a file boundary."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


_Ranges = Annotated[str, Field(pattern=r"^[0-9]{1,6}(-[0-9]{1,6})?(,[0-9]{1,6}(-[0-9]{1,6})?)*$")]


class TensorGroup(Record):
    """Tensors that differ only in the numbers inside their names.

    `name` has one `*` for each number that runs (`blk.*.attn_q.weight`,
    `model.layers.*.mlp.experts.*.up_proj.weight`); `index` has one range list for each `*`
    (`0-31` or `0-4,7,9-31`); the group holds the product of the ranges.
    `shape` is as the file writes it: GGUF innermost first, safetensors outermost first.
    `dtype` is the file's own name: ggml's in lower case but for K (`q5_K`, `f16`), or safetensors'
    (`BF16`, `F8_E4M3`). `bytes` is the size of ONE tensor in the file.
    """

    name: str
    index: list[_Ranges] = []
    dtype: str
    shape: list[int]
    bytes: int

    def indices(self) -> list[list[int]]:
        """The numbers that stand for each `*`."""
        return [_expand_ranges(text) for text in self.index]

    def count(self) -> int:
        """How many tensors the group holds, counted without a list of them."""
        total = 1
        for text in self.index:
            total *= sum(max(0, last - first + 1) for first, last in _range_bounds(text))
        return total


class Tensor(Record):
    """One tensor of the file."""

    name: str
    dtype: str
    shape: list[int]
    bytes: int


class ModelFacts(Record):
    """Everything the memory laws know of a model.

    `header` keeps the file's own names. GGUF: the keys of the architecture without its prefix
    (`block_count`, `attention.head_count_kv`), other keys whole (`general.file_type`), tokenizer
    arrays left out (their length is `vocabulary`). Hugging Face: config.json without what no law
    reads (label maps, generation defaults, token ids).
    """

    format: ModelFormat
    role: ModelRole = "model"
    """What the file is to an engine (GGUF `general.type`): a model; a projector of pictures or
    sound into a model (mmproj); a LoRA adapter of one."""
    architecture: str
    """GGUF general.architecture (`llama`), or the first of config.json's architectures."""
    task: Task
    """What the files say the model is for; a service may ask for another task it can do."""
    pooling: str | None = None
    """none, mean, cls, last or rank, when the files say so."""
    parameters: Annotated[int, Field(ge=0)]
    """Number of weights, counted from tensors; 0 when the files do not tell."""
    layers: Annotated[int, Field(ge=0, le=MAX_LAYERS)]
    vocabulary: Annotated[int, Field(ge=0)]
    position_limit: Annotated[int, Field(ge=0)]
    """Longest context the model was made for, in tokens; 0 when the files do not tell."""
    answer_limit: int = 0
    """Longest answer that the model's own generation settings allow, in tokens; 0 without one."""
    quantization: str
    """For people: `bf16`, `awq-4bit`, `Q5_K_S`."""
    header: dict[str, HeaderValue]
    tensors: list[TensorGroup] = []
    """In file order of first appearance; empty for format `config`."""
    sequential: bool = False
    """GGUF: tensor data lies in the order that `expand` gives, each padded to `alignment`."""
    alignment: int = 32

    def expand(self) -> Iterator[Tensor]:
        """Every tensor of the file, repeated blocks layer by layer."""
        yield from _expand_groups(self.tensors)

    def value(self, key: str, default: HeaderValue = None) -> HeaderValue:
        """One header value by the file's own name."""
        found = self.header.get(key)
        return default if found is None else found


def _expand_ranges(text: str) -> list[int]:
    numbers: list[int] = []
    for first, last in _range_bounds(text):
        numbers.extend(range(first, last + 1))
    return numbers


def _range_bounds(text: str) -> Iterator[tuple[int, int]]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield int(first), int(last or first)


def _expand_groups(groups: list[TensorGroup]) -> Iterator[Tensor]:
    """Neighbouring groups whose first `*` is the same block repeat together, block by block."""
    run: list[TensorGroup] = []
    stem: str | None = None
    for group in groups:
        own_stem = group.name.partition("*")[0] if group.index else None
        if own_stem != stem or own_stem is None:
            yield from _expand_run(run)
            run, stem = [], own_stem
        run.append(group)
    yield from _expand_run(run)


def _expand_run(run: list[TensorGroup]) -> Iterator[Tensor]:
    if run and not run[0].index:
        for group in run:
            yield _tensor(group, ())
        return
    # Groups of one name differ in type from block to block; the name's first place in the run
    # counts.
    order = {group.name: position for position, group in reversed(list(enumerate(run)))}
    entries = [((block, order[group.name]), group) for group in run for block in group.indices()[0]]
    for (block, _), group in sorted(entries, key=lambda entry: entry[0]):
        for rest in _product(group.indices()[1:]):
            yield _tensor(group, (block, *rest))


def _product(ranges: list[list[int]]) -> Iterator[tuple[int, ...]]:
    if not ranges:
        yield ()
        return
    for number in ranges[0]:
        for rest in _product(ranges[1:]):
            yield (number, *rest)


def _tensor(group: TensorGroup, numbers: tuple[int, ...]) -> Tensor:
    name = group.name
    for number in numbers:
        name = name.replace("*", str(number), 1)
    return Tensor.model_construct(
        name=name, dtype=group.dtype, shape=group.shape, bytes=group.bytes
    )
