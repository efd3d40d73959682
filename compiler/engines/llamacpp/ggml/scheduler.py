"""ggml's scheduler: which device computes which node, and what is copied between devices."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from compiler.engines.llamacpp.ggml import cuda
from compiler.engines.llamacpp.ggml.allocator import Placed, Planner
from compiler.engines.llamacpp.ggml.steps import Script
from compiler.engines.llamacpp.ggml.tensor import IN_PART, NOWHERE, Graph, Tensor
from compiler.engines.llamacpp.model import quants

_VIEW_OPS = frozenset({"view", "reshape", "permute", "transpose"})

Numbered = tuple[int, Tensor]
"""A node and its place in the graph."""

# From this many tokens on ggml-cuda takes a product over host weights (ggml-cuda.cu
# `ggml_backend_cuda_device_offload_op`).
OFFLOAD_TOKENS = 32
# GGML_SCHED_MAX_COPIES of a CUDA build with pipeline parallelism.
PIPELINE_COPIES = 4
# Sources of a node (ggml.h GGML_MAX_SRC); a longer list of kept tensors takes several nodes.
_MAX_SOURCES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """What the scheduler knows of its devices: GPUs first, the host last."""

    gpus: int
    capabilities: tuple[int, ...] = ()
    """Of the GPUs, times ten; empty where they make no difference."""
    copies: int = 1
    op_offload: bool = True
    attention_copies: bool = True
    reduction_holds: bool = True
    fusion_holds: bool = True
    idle_inputs: bool = True
    host: int = field(init=False)
    """The number of the host. A field, for it is read a million times a second."""

    def __post_init__(self) -> None:
        """The host stands behind the GPUs."""
        object.__setattr__(self, "host", self.gpus)


@dataclass(slots=True)
class _Split:
    device: int
    start: int
    end: int = 0
    inputs: list[tuple[Tensor, list[Tensor]]] = field(default_factory=list)


def _no_weight(like: int, name: str) -> Tensor:
    raise KeyError(like, name)


def script_of(
    graph: Graph,
    devices: Devices,
    starts: Sequence[int] = (),
    weight_of: Callable[[int, str], Tensor] = _no_weight,
) -> Script:
    """The steps of a graph from each of the nodes at which it may be cut.

    As ggml-backend.cpp `ggml_backend_sched_reserve`; `starts` are positions among the nodes, and
    `weight_of` gives a weight by like layer and name.
    """
    splits = _split_graph(graph, devices)
    kept = _kept_alive(graph, splits, devices) if devices.reduction_holds else {}
    leafs = _pipeline_leafs(graph, splits, devices)
    leafs += [(tensor, tensor.device) for tensor in graph.leafs]
    nodes, places = _split_nodes(graph, splits, kept, starts)

    size_on = partial(_padded_bytes, devices)

    @cache
    def size_of(like: int, name: str, device: int) -> int:
        return size_on(weight_of(like, name), device)

    steps = Planner(size_on).plan(nodes, leafs, places)
    once = _kept_copies(graph, splits, starts) if devices.copies > 1 else frozenset()
    return Script(steps, devices.gpus + 1, size_of, once)


def reserve(graph: Graph, devices: Devices) -> tuple[int, ...]:
    """Compute buffer of each device, host last."""
    return script_of(graph, devices).whole()


def _padded_bytes(devices: Devices, tensor: Tensor, device: int) -> int:
    """Bytes of a tensor in the buffer of a device."""
    size = tensor.data_bytes()
    if device == devices.host:
        return -(-size // quants.CPU_ALIGNMENT) * quants.CPU_ALIGNMENT
    if devices.attention_copies and tensor.op == "flash_attn":
        capability = devices.capabilities[device] if devices.capabilities else 0
        size = cuda.attention_bytes(tensor, capability)
    size += quants.cuda_padding_bytes(tensor.dtype, tensor.ne[0])
    return -(-size // quants.CUDA_ALIGNMENT) * quants.CUDA_ALIGNMENT


def _split_graph(graph: Graph, devices: Devices) -> list[_Split]:
    """Assign a device to every node and cut the graph (`ggml_backend_sched_split_graph`)."""
    for tensor in (*graph.leafs, *graph.nodes):
        if tensor.device == NOWHERE:
            tensor.device = _own_device(tensor, devices)
    work = [(index, node) for index, node in enumerate(graph.nodes) if node.op not in _VIEW_OPS]
    for gpu_only in (True, False):
        _expand(work, devices, gpu_only=gpu_only)
        _expand(reversed(work), devices, gpu_only=gpu_only)
    _assign_rest(graph, work, devices)
    splits = _cut(work, devices)
    splits[-1].end = len(graph.nodes)
    return splits


def _own_device(tensor: Tensor, devices: Devices) -> int:
    """Pass 1: nodes go where their data is (`ggml_backend_sched_backend_id_from_cur`)."""
    data = tensor.view_of or tensor
    if data.home != NOWHERE and _supports(data.home, tensor, devices):
        return data.home
    if tensor.is_input:
        return devices.host
    if tensor.op in ("rope", "flash_attn"):
        return NOWHERE
    for source in tensor.src:
        if source.is_weight and source.view_of is None:
            found = source.home if _supports(source.home, tensor, devices) else NOWHERE
            on_host = found == devices.host and source.home == devices.host
            if on_host and devices.op_offload and _batch(tensor) >= OFFLOAD_TOKENS:
                for gpu in range(devices.gpus):
                    if _supports(gpu, tensor, devices):
                        return gpu
            return found
    return NOWHERE


def _expand(nodes: Iterable[Numbered], devices: Devices, *, gpu_only: bool) -> None:
    """Pass 2: a device spreads to its neighbours, GPUs before the host."""
    current = NOWHERE
    for _, tensor in nodes:
        if tensor.device != NOWHERE:
            current = NOWHERE if gpu_only and tensor.device == devices.host else tensor.device
        elif current != NOWHERE and _supports(current, tensor, devices):
            tensor.device = current


def _assign_rest(graph: Graph, work: Sequence[Numbered], devices: Devices) -> None:
    """Passes 3 and 4: what is left goes where most sources are; views follow their data."""
    for _, tensor in work:
        if tensor.device != NOWHERE:
            continue
        most = NOWHERE
        for device in range(devices.gpus + 1):
            if _supports(device, tensor, devices):
                count = sum(_usable(source, device) for source in tensor.src)
                if count > most:
                    most, tensor.device = count, device
    for tensor in graph.nodes:
        if tensor.view_of is not None and tensor.device == NOWHERE:
            tensor.device = tensor.view_of.device
        for source in tensor.src:
            if source.device == NOWHERE:
                viewed = source.view_of
                source.device = tensor.device if viewed is None else viewed.device
        if tensor.device == NOWHERE:
            tensor.device = 0


def _cut(work: Sequence[Numbered], devices: Devices) -> list[_Split]:
    """Pass 5: a split for each run of nodes on one device, with copies of foreign sources."""
    split = _Split(work[0][1].device, 0)
    splits = [split]
    copies: dict[tuple[int, int], list[Tensor]] = {}
    for index, tensor in work:
        if tensor.device != split.device or (split.inputs and _needs_split(tensor, split.device)):
            split.end = index
            split = _Split(tensor.device, index)
            splits.append(split)
        device = split.device
        for position, source in enumerate(tensor.src):
            if source.device == device or _usable(source, device):
                continue
            key = (id(source), device)
            if key not in copies:
                copies[key] = [_copy_of(source, device, devices) for _ in range(devices.copies)]
                split.inputs.append((source, copies[key]))
            tensor.src[position] = copies[key][0]
    return splits


def _needs_split(tensor: Tensor, device: int) -> bool:
    """Host weights are copied at the start of a split, and each set takes one of its own."""
    for source in tensor.src:
        foreign = source.is_weight and source.view_of is None and source.device != device
        if foreign and not _usable(source, device):
            return True
    return False


def _copy_of(source: Tensor, device: int, devices: Devices) -> Tensor:
    copied = Tensor(source.ne, source.dtype, nb=source.nb)
    copied.device = device
    data = source.view_of or source
    copied.origin = data.origin if data is source or data.origin is None else IN_PART
    copied.lasts = source.lasts
    if devices.copies > 1:
        copied.is_input = copied.is_output = True
    return copied


def _pipeline_leafs(graph: Graph, splits: Sequence[_Split], devices: Devices) -> list[Placed]:
    """With pipeline parallelism every input and every copied activation stands there four times."""
    if devices.copies == 1:
        return []
    leafs: list[Placed] = []
    used = {id(source) for node in graph.nodes for source in node.src}
    used |= {id(source) for split in splits for source, _ in split.inputs}
    for tensor in graph.leafs:
        if not tensor.is_input or not (devices.idle_inputs or id(tensor) in used):
            continue
        tensor.is_output = True
        leafs.append((tensor, tensor.device))
        for _ in range(devices.copies - 1):
            again = Tensor(tensor.ne, tensor.dtype, nb=tensor.nb)
            again.is_input = again.is_output = True
            leafs.append((again, tensor.device))
    for split in splits:
        leafs += [(copied, split.device) for _, copies in split.inputs for copied in copies]
    return leafs


def _kept_copies(graph: Graph, splits: Sequence[_Split], starts: Sequence[int]) -> frozenset[int]:
    """The steps for whose results the opening one takes room, for they stay on another device."""
    numbers = {id(node): number for number, node in enumerate(graph.nodes)}
    found = {
        bisect_right(starts, numbers.get(id(source), 0)) - 1
        for split in splits
        for source, _ in split.inputs
        if not source.lasts
    }
    return frozenset(found - {-1})


def _split_nodes(
    graph: Graph,
    splits: Sequence[_Split],
    kept: dict[int, list[list[Tensor]]],
    starts: Sequence[int],
) -> tuple[list[Placed], list[int]]:
    """The nodes split by split, each behind the copies of its foreign sources.

    Beside them the places where the nodes at `starts` went, with the copies before them.
    """
    nodes: list[Placed] = []
    places: list[int] = []
    coming = deque(starts)
    for split in splits:
        first = len(nodes)
        for source, copies in split.inputs:
            holder = Tensor(source.ne, source.dtype, None, (source,), source, source.nb)
            nodes.append((holder, source.device))
            nodes.append((copies[0], split.device))
        for index in range(split.start, split.end):
            while coming and coming[0] == index:
                coming.popleft()
                places.append(first if index == split.start else len(nodes))
            tensor = graph.nodes[index]
            nodes.append((tensor, tensor.device))
            for group in kept.get(id(tensor), ()):
                first_kept = group[0]
                holder = Tensor(
                    first_kept.ne, first_kept.dtype, None, tuple(group), first_kept, first_kept.nb
                )
                nodes.append((holder, split.device))
    return nodes, places


def _kept_alive(
    graph: Graph, splits: Sequence[_Split], devices: Devices
) -> dict[int, list[list[Tensor]]]:
    """Sources of fused kernels, by the node until which they live (ggml-cuda `graph_optimize`)."""
    kept: dict[int, dict[int, Tensor]] = {}
    fusions = {id(fusion.node): fusion for fusion in graph.fusions}

    def keep(tensor: Tensor, until: Tensor) -> None:
        kept.setdefault(id(until), {})[id(tensor)] = tensor

    for split in splits:
        if split.device == devices.host or not fusions:
            continue
        nodes = graph.nodes[split.start : split.end]
        inside = {id(node) for node in nodes}
        for node in nodes:
            fusion = fusions.get(id(node))
            if fusion is None:
                continue
            if fusion.reduces:
                # What the product reads after the cut: copies, if it comes from elsewhere.
                for source in node.src if id(fusion.last) in inside else ():
                    keep(source, fusion.last)
            elif devices.fusion_holds and id(fusion.chain[0]) in inside:
                # Until the node behind the kernel, be it in the next split.
                for link in fusion.chain:
                    keep(link, fusion.last)
                    for source in link.src:
                        keep(source, fusion.last)
    groups = {}
    for key, tensors in kept.items():
        listed = list(tensors.values())
        groups[key] = [
            listed[start : start + _MAX_SOURCES] for start in range(0, len(listed), _MAX_SOURCES)
        ]
    return groups


def _supports(device: int, node: Tensor, devices: Devices) -> bool:
    if device == devices.host:
        return True
    for source in node.src:
        # ggml-cuda refuses a node with a weight or cache on another GPU.
        if source.home not in (NOWHERE, devices.host, device) and source.view_of is None:
            return False
    if node.op == "im2col":
        return all(source.contiguous() for source in node.src)
    return node.op != "flash_attn" or cuda.runs_attention(node)


def _usable(source: Tensor, device: int) -> bool:
    data = source if source.view_of is None else source.view_of
    if data.home != NOWHERE:
        return data.home == device
    where = source.device
    if where == NOWHERE and source.view_of is not None:
        where = source.view_of.device
    return where == device


def _batch(node: Tensor) -> int:
    """Tokens of a product (ggml-cuda.cu `get_op_batch_size`)."""
    match node.op:
        case "get_rows":
            return 0
        case "mul_mat":
            return node.ne[1]
        case "mul_mat_id" | "rope":
            return node.ne[2]
        case _:
            return node.ne[1] * node.ne[2] * node.ne[3]
