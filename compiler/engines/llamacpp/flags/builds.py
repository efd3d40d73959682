"""llama.cpp builds: what the graph code of each did, and which flags it has."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from functools import lru_cache

from compiler.engines.llamacpp.model.architectures import architecture

_BUILD = re.compile(r"b?([0-9]{1,6})")
_RELEASE = re.compile(
    r"v?([0-9]{1,3})\.([0-9]{1,3})(?:\.([0-9]{1,5}))?(?:-dev)?(?:[-+][0-9A-Za-z.]{1,20})?"
)

# Before this build the graph differs in more ways than the law knows (no log of it is at hand).
OLDEST_BUILD = 3000
# The newest build that the law is held to. The commit whose source it transcribes, 0c1e57098 of
# 2026-10-01, is b11312, and a log of b11379 agrees with it.
STUDIED_BUILD = 11390
# A log of this build shows activations that the studied source does not allocate.
NEWER_BUILD = 11501
# Releases, and the builds that they are (as `llama-server --version` prints both, but for 0.1.0,
# which lies between b10361 and 0.2.0). What comes after a release calls itself by its name with
# `-dev`, and the studied commit 0.5.0-dev; 0.4.1-dev came after 0.4.0.
_RELEASES = {
    (0, 1): 10362,
    (0, 2): 10566,
    (0, 3): 10621,
    (0, 4): 10809,
    (0, 5): 11146,
    (0, 6): 11429,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Era:
    """How the graph code of a build differs from that of 2026-10-01, where all but the last hold.

    Each was read off the logs of its time; the table in docs/memory-llamacpp.md names them.
    """

    row_indices: bool = True
    """K and V are written through index inputs (`ggml_set_rows`)."""
    fused_glu: bool = True
    """Gate and up are joined by one node."""
    embedding_input: bool = True
    """The host also holds a leaf for embeddings given instead of tokens."""
    half_mask: bool = True
    """The attention mask is an f16 input; before, f32 and a cast."""
    output_limit: bool = True
    """llama-server reserves logits for one token a slot; before, for the whole ubatch."""
    hidden_qwen35: bool = True
    """The last hidden state is an output for a next-token head, and the rows that give logits are
    selected behind it: in Qwen 3.5 first."""
    hidden_gemma4: bool = True
    """The same in Gemma 4."""
    hidden_output: bool = True
    """The same in the other families with such heads."""
    attention_copies: bool = True
    """f16 copies of a quantized cache ride on the attention node; before, in the CUDA pool."""
    reduction_holds: bool = True
    """The fused sum over experts keeps its inputs alive."""
    fusion_holds: bool = True
    """Fused expert routing keeps its inputs alive."""
    idle_inputs: bool = True
    """Pipeline copies are made of inputs that the device does not use, too."""
    rotation: bool = True
    """A quantized cache is written through a Hadamard rotation."""
    sliding_cache: bool = True
    """Layers with a window have a small cache of their own."""
    fused_qkv_views: bool = True
    """Q, K and V of one matrix are views; before, copies."""
    output_counts: bool = True
    """-ngl counts the output layer: N layers are N-1 and the output."""
    streams: bool = True
    """Slots can have caches of their own (--no-kv-unified)."""
    latent_rows: bool = True
    """Latent attention caches one row for K and V; before, the latent part again as V."""
    counts_next: bool = True
    """The cache counts the layers for next tokens at the end of the file among its layers."""
    skips_next: bool = True
    """It passes them by in every family; before, in some."""
    encoder_cache: bool = False
    """Encoders had a KV cache they did not need."""

    def caches_next(self, arch: str) -> bool:
        """Whether layers for next tokens have a cache though they do not run."""
        return self.counts_next and not self.skips_next and architecture(arch).next_cached

    def keeps_hidden(self, arch: str) -> bool:
        """Whether the last hidden state of a family with next-token heads is an output."""
        if arch in ("qwen35", "qwen35moe"):
            return self.hidden_qwen35
        return self.hidden_gemma4 if arch == "gemma4" else self.hidden_output


# The last build known without, and the first known with each change; the truth lies between.
# Pull requests of ggml-org/llama.cpp, builds of logs in tests/truth/llamacpp_logs.yaml, and builds
# whose sources were read: tests/oracle/llamacpp_source.py names most; llama-cpp-python 0.3.21,
# 0.3.23, 0.3.24 and 0.3.30 carry f53577432, 7d442abf5, af6528e6d and e3a74b299, which are b8942,
# b9102, b9445 and b9665.
_CHANGES: dict[str, tuple[int, int]] = {
    "encoder_cache": (5200, 5320),  # PR 13108, 2025-05-08 (here the change takes it away)
    "sliding_cache": (5425, 5440),  # PR 13194, 2025-05-20
    "fused_glu": (5775, 5800),  # PR 14158, 2025-06-30
    "fused_qkv_views": (5775, 6080),  # with set_rows, July 2025
    "row_indices": (6060, 6090),  # PR 14959, 2025-08-02
    "streams": (5905, 5925),  # PR 14363, 2025-07-16
    "output_counts": (7390, 7430),  # PR 16653, 2025-12-15
    "embedding_input": (7698, 7836),  # sources; PR 18550
    "latent_rows": (7698, 7836),  # sources; PR 19067, 2026-01-25
    "rotation": (8600, 8942),  # between 2026-04 and the source
    "hidden_qwen35": (9300, 9445),  # between logs taken for b9300 and the source; PR 22673
    "half_mask": (9272, 9445),  # between a build of 2026-05-22 and the source; PR 23764
    "output_limit": (9445, 9665),  # sources; PR 23861
    "attention_copies": (9445, 9665),  # sources: `ggml_cuda_flash_attn_ext_get_alloc_size`
    "hidden_gemma4": (9445, 9665),  # sources
    "counts_next": (9445, 9665),  # sources
    "skips_next": (10809, 11146),  # sources: `llama_model::create_memory`
    "hidden_output": (10068, 10361),  # sources
    "reduction_holds": (10361, 10809),  # sources: `ggml_backend_cuda_graph_optimize`
    "fusion_holds": (10809, 11146),  # sources: the same
    "idle_inputs": (11146, 11312),  # sources: `ggml_backend_sched_split_graph`
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One build of llama.cpp."""

    number: int
    text: str
    newer: bool = False
    """Newer than the source the law transcribes."""


def parse_build(text: str) -> Build | None:
    """The build of a version string (`9000`, `b9000`, `0.5.0-dev`), or None."""
    stripped = text.strip()
    match = _BUILD.fullmatch(stripped)
    if match:
        number = int(match[1])
        return Build(number=number, text=text, newer=number > STUDIED_BUILD)
    match = _RELEASE.fullmatch(stripped)
    if match is None:
        return None
    release = (int(match[1]), int(match[2]))
    if release == (0, 0):  # Before 0.1.0 packages were called 0.0 and the build (CMakeLists.txt).
        return parse_build(match[3] or "")
    later = [number for known, number in _RELEASES.items() if known > release]
    number = _RELEASES.get(release, NEWER_BUILD)
    if "-dev" in stripped:
        # A build up to the next release: the studied one, or else the newest that there can be.
        known = number <= STUDIED_BUILD
        number = min([STUDIED_BUILD if known else NEWER_BUILD, *(each - 1 for each in later)])
    return Build(number=number, text=text, newer=number > STUDIED_BUILD)


def known_release(text: str) -> int | None:
    """The build that a release is (`0.5.0`), where one is known to be exactly it."""
    match = _RELEASE.fullmatch(text.strip())
    if match is None or "-dev" in text or int(match[3] or 0):
        return None
    return _RELEASES.get((int(match[1]), int(match[2])))


@lru_cache(maxsize=512)
def eras_of(number: int) -> tuple[Era, ...]:
    """The graph code of a build; two where the build lies between known ones: older, newer."""
    older, newer = Era(), Era()
    for field in fields(Era):
        without, known = _CHANGES[field.name]
        default = getattr(older, field.name)
        if number < known:
            older = replace(older, **{field.name: not default})
        if number <= without:
            newer = replace(newer, **{field.name: not default})
    return (newer,) if older == newer else (older, newer)


# Flags: the first build that has the flag, from the same sources; flags.json bounds each.
FLASH_ATTN_VALUE = 6325  # PR 15434, 2025-08-30: `-fa` takes on, off or auto
KV_UNIFIED_FLAG = 5925  # PR 14363
NO_KV_UNIFIED_FLAG = 8095  # b7836 has none; before, leaving --kv-unified out says the same
SHARED_POOL = 6940  # PR 16736, 2025-11-02: a slot may use the whole unified cache
CACHE_RAM_FLAG = 6720  # PR 16391, 2025-10-09
CHECKPOINTS_FLAG = 6301  # PR 15293, 2025-08-14: --swa-checkpoints; b6122 has none
CHECKPOINTS_NAME = 6845  # PR 16382, 2025-10-03: --ctx-checkpoints; b6673 has the old name alone
FIT_FLAG = 7430  # PR 16653, 2025-12-15
LOAD_MODE_FLAG = 10297  # PR 20834, July 2026; --no-mmap still works then
# 14a9d09f7, 2026-09-09: --mmap, --no-mmap and --mlock are refused from here on; b10809 has them.
NO_MMAP_GONE = 10875
DEVICE_FLAG = 4234  # PR 10497, 2024-11-25; b3995 has none
SWA_FULL_FLAG = 5440  # PR 13194
NO_OP_OFFLOAD_FLAG = 5345  # PR 13386, 2025-05-11
OVERRIDE_TENSOR_FLAG = 5040  # PR 11397, 2025-04-02
CPU_MOE_FLAG = 6065  # PR 14992, 2025-07-31
N_CPU_MOE_FLAG = 6090  # PR 15077, 2025-08-04
COMMA_LISTS = 7698  # from here a repeated --lora replaces the one before; b7347 still adds up
MMPROJ_FLAG = 5415  # llama-server takes pictures (PR 12898, 2025-05-09); b4980 does not
MMPROJ_DEVICE_FLAG = 10809  # b10361 has none
IMAGE_TOKENS_FLAG = 7324  # b6845 has none
# Of these the graphs of projectors were read: b9842 is near the studied source, from b10809 on
# they are equal to it.
PROJECTOR_LAW = 9842
PROJECTOR_STUDIED = 10809
IMAGE_BATCH_FLAG = 9842  # --mtmd-batch-max-tokens; b8390 has none
# One draft context for all slots, --spec-type and --spec-draft-n-max; b8390 has a context a slot.
DRAFT_CONTEXT = 9842
# --spec-type draft-mtp: PR 22673 of May 2026; a log of b9444 has it. It comes with the above here.
NEXT_TOKENS_FLAG = DRAFT_CONTEXT
RERANK_FLAG = 3844  # PR 9510, 2024-09-28
