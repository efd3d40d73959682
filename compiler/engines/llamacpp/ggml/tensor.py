"""A toy ggml: tensors with shapes and sources but no data, and the graph that they form."""

from __future__ import annotations

from compiler.engines.llamacpp.model.quants import BLOCKS, block, is_quantized

NOWHERE = -1


Origin = tuple[int, str]
"""Of a layer's weight: the number of the layer in the graph, and the weight's name there."""
IN_PART: Origin = (NOWHERE, "")
"""Of what is a part of some weight."""


class Tensor:
    """One tensor (ggml.h `ggml_tensor`) and what scheduler and allocator note on it.

    Mutable and slotted on purpose: a graph has thousands, and both passes write to each.
    """

    __slots__ = (
        "adapters",
        "allocated",
        "children",
        "device",
        "dtype",
        "home",
        "is_input",
        "is_output",
        "is_weight",
        "lasts",
        "nb",
        "ne",
        "op",
        "origin",
        "place",
        "result",
        "size",
        "src",
        "view_of",
        "views",
    )

    def __init__(
        self,
        ne: tuple[int, ...],
        dtype: str = "f32",
        op: str | None = None,
        src: tuple[Tensor, ...] = (),
        view_of: Tensor | None = None,
        nb: tuple[int, ...] | None = None,
    ) -> None:
        missing = 4 - len(ne)
        self.ne = ne + (1,) * missing if missing else ne
        self.dtype = dtype
        self.op = op
        self.src = list(src)
        self.view_of: Tensor | None = None
        if view_of is not None:
            self.view_of = view_of.view_of or view_of
        if nb is None:
            per_block, block_bytes = BLOCKS.get(dtype) or block(dtype)
            first, second, third, _ = self.ne
            row = block_bytes * (first // per_block)
            plane = row * second
            nb = (block_bytes, row, plane, plane * third)
        self.nb = nb
        self.is_input = False
        self.is_output = False
        self.is_weight = False
        self.lasts = False
        """Layer after layer reads it: an input, what all layers share, or a copy of one."""
        self.home = NOWHERE
        """Device of the model or cache buffer that holds the data; NOWHERE for activations."""
        self.device = NOWHERE
        self.adapters: tuple[tuple[Tensor, Tensor], ...] = ()
        """Pairs of low-rank matrices that are added to a weight (LoRA)."""
        self.origin: Origin | None = None
        self.children = 0
        self.views = 0
        self.allocated = False
        # The allocator writes these: device, bytes, and in which result the data is.
        self.place: int
        self.size: int
        self.result: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        ne = self.ne
        return ne[0] * ne[1] * ne[2] * ne[3]

    def data_bytes(self) -> int:
        """Bytes from the first to the last element (ggml.c `ggml_nbytes`)."""
        ne, nb = self.ne, self.nb
        if min(ne) <= 0:
            return 0
        per_block, block_bytes = BLOCKS.get(self.dtype) or block(self.dtype)
        rest = (ne[1] - 1) * nb[1] + (ne[2] - 1) * nb[2] + (ne[3] - 1) * nb[3]
        if per_block == 1:
            return block_bytes + (ne[0] - 1) * nb[0] + rest
        return ne[0] * nb[0] // per_block + rest

    def contiguous(self) -> bool:
        """Whether the elements lie without gaps (ggml.c `ggml_is_contiguous`)."""
        per_block, block_bytes = block(self.dtype)
        step = block_bytes
        if self.ne[0] != per_block and self.nb[0] != step:
            return False
        step *= self.ne[0] // per_block
        for size, stride in zip(self.ne[1:], self.nb[1:], strict=True):
            if size != 1 and stride != step:
                return False
            step *= size
        return True

    @property
    def quantized(self) -> bool:
        """Whether the elements are packed in blocks."""
        return is_quantized(self.dtype)


class Fusion:
    """Nodes that ggml-cuda runs as one kernel, and which must stay alive until its last.

    The graph has them, not their nodes: tensors that form no circle are gone with their last use.
    """

    __slots__ = ("chain", "last", "node", "reduces")

    def __init__(self, node: Tensor, chain: list[Tensor], last: Tensor, *, reduces: bool) -> None:
        self.node = node
        self.chain = chain
        self.last = last
        self.reduces = reduces


class Graph:
    """Nodes in the order in which they are computed, and leafs (ggml.c `ggml_cgraph`)."""

    __slots__ = ("_seen", "fusions", "leafs", "nodes")

    def __init__(self) -> None:
        self.nodes: list[Tensor] = []
        self.leafs: list[Tensor] = []
        self.fusions: list[Fusion] = []
        self._seen: set[int] = set()

    def expand(self, tensor: Tensor) -> None:
        """Add a tensor after everything it needs (ggml.c `ggml_build_forward_expand`)."""
        seen = self._seen
        key = id(tensor)
        if key in seen:
            return
        seen.add(key)
        for source in tensor.src:
            if source.op is not None:
                self.expand(source)
            elif id(source) not in seen:
                seen.add(id(source))
                self.leafs.append(source)
        (self.leafs if tensor.op is None else self.nodes).append(tensor)


def new_input(ne: tuple[int, ...], dtype: str = "f32") -> Tensor:
    """A leaf that the host fills before each run."""
    tensor = Tensor(ne, dtype)
    tensor.is_input = tensor.lasts = True
    return tensor


def resident(ne: tuple[int, ...], dtype: str, home: int, *, weight: bool) -> Tensor:
    """A leaf whose data is in a model buffer (weight) or in a cache buffer."""
    tensor = Tensor(ne, dtype)
    tensor.home = home
    tensor.is_weight = weight
    return tensor


def apply(op: str, first: Tensor, *rest: Tensor) -> Tensor:
    """A node with the shape and type of its first source."""
    return Tensor(first.ne, first.dtype, op, (first, *rest))


def matmul(weight: Tensor, x: Tensor) -> Tensor:
    """A matrix product, f32, with the adapters of the weight (llama-graph.cpp `build_lora_mm`)."""
    y = Tensor((weight.ne[1], x.ne[1], x.ne[2], x.ne[3]), "f32", "mul_mat", (weight, x))
    for a, b in weight.adapters:
        y = apply("add", y, apply("scale", matmul(b, matmul(a, x))))
    return y


def matmul_id(weight: Tensor, x: Tensor, ids: Tensor) -> Tensor:
    """A product with the experts that `ids` chooses (llama-graph.cpp `build_lora_mm_id`)."""
    y = Tensor((weight.ne[1], ids.ne[0], x.ne[2]), "f32", "mul_mat_id", (weight, x, ids))
    for a, b in weight.adapters:
        y = apply("add", y, apply("scale", matmul_id(b, matmul_id(a, x, ids), ids)))
    return y


def get_rows(table: Tensor, ids: Tensor) -> Tensor:
    """Rows of a table, as f32."""
    dtype = "i32" if table.dtype == "i32" else "f32"
    return Tensor((table.ne[0], ids.ne[0], ids.ne[1], ids.ne[2]), dtype, "get_rows", (table, ids))


def view(a: Tensor, ne: tuple[int, ...], nb: tuple[int, ...]) -> Tensor:
    """A window on another tensor's data."""
    if len(nb) < len(a.nb):
        nb = nb + (nb[-1],) * (len(a.nb) - len(nb))
    return Tensor(ne, a.dtype, "view", (a,), a, nb)


def reshape(a: Tensor, *ne: int) -> Tensor:
    """The same data in another shape."""
    return Tensor(ne, a.dtype, "reshape", (a,), a)


def permute(a: Tensor, *axes: int) -> Tensor:
    """The same data with its axes exchanged."""
    ne, nb = [0] * 4, [0] * 4
    for index, axis in enumerate(axes):
        ne[axis], nb[axis] = a.ne[index], a.nb[index]
    return Tensor(tuple(ne), a.dtype, "permute", (a,), a, tuple(nb))


def transpose(a: Tensor) -> Tensor:
    """The same data with the first two axes exchanged."""
    return permute(a, 1, 0, 2, 3)


def cont(a: Tensor, *ne: int) -> Tensor:
    """A contiguous copy."""
    return Tensor(ne or a.ne, a.dtype, "cont", (a,))


def cast(a: Tensor, dtype: str) -> Tensor:
    """A copy in another type."""
    return Tensor(a.ne, dtype, "cpy", (a,))


def concat(a: Tensor, b: Tensor, axis: int) -> Tensor:
    """Two tensors joined along an axis."""
    ne = list(a.ne)
    ne[axis] += b.ne[axis]
    return Tensor(tuple(ne), a.dtype, "concat", (a, b))


def set_rows(target: Tensor, rows: Tensor, ids: Tensor) -> Tensor:
    """Rows written into a tensor; the result is a view of it."""
    return Tensor(target.ne, target.dtype, "set_rows", (rows, ids, target), target, target.nb)


def copy(a: Tensor, target: Tensor) -> Tensor:
    """A tensor written into another; the result is a view of it."""
    return Tensor(target.ne, target.dtype, "cpy", (a, target), target, target.nb)
