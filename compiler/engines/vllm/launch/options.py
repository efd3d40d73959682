"""The launch options that the memory law reads, typed and complete."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from compiler.engines.vllm.model.shape import Shape
from compiler.engines.vllm.versions import Rules, Version, rules_of
from compiler.ir.facts import ModelFacts
from compiler.ir.inventory import GpuKind
from compiler.ir.units import GIB

DraftMethod = Literal["draft_model", "eagle", "eagle3", "medusa"]
CudagraphMode = Literal["none", "piecewise", "full_decode", "full_and_piecewise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Adapters that are given room at start."""

    adapters: int = 1
    rank: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A second model that proposes tokens; it stands on the last pipeline stage."""

    method: DraftMethod
    facts: ModelFacts = field(compare=False, hash=False)
    shape: Shape | None
    """None for Medusa's heads, which have no layers of their own."""
    tensor_parallel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One launch of one version on one kind of GPU."""

    version: Version
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    stage: int = 0
    """The pipeline stage that is looked at."""
    expert_parallel: bool = False
    context: int
    """--max-model-len."""
    sequences: int
    """--max-num-seqs: requests in flight on each data parallel rank."""
    batched_tokens: int
    """--max-num-batched-tokens."""
    dtype: str = "auto"
    kv_dtype: str = "auto"
    quantization: str | None = None
    """--quantization, only where the checkpoint names none."""
    block_size: int | None = None
    pooling: bool = False
    prefix_caching: bool | None = None
    """None: as the version decides for the model."""
    async_scheduling: bool = True
    hybrid_kv: bool = True
    cudagraph: CudagraphMode = "full_and_piecewise"
    compiles: bool = True
    """Whether torch.compile runs at start."""
    capture_sizes: tuple[int, ...] = ()
    """Explicit capture sizes; empty for the version's own list."""
    capture_limit: int | None = None
    language_model_only: bool = False
    images: int = 999
    """Images a prompt may carry, as --limit-mm-per-prompt says."""
    picture_pixels: int | None = None
    """Pixels of the largest picture, where --mm-processor-kwargs caps them."""
    profile_images: bool = True
    replicate_vision: bool = False
    lora: Lora | None = None
    draft_method: str = ""
    """The method of speculative decoding; empty without it."""
    draft_tokens: int = 0
    """Tokens proposed a step by speculative decoding."""
    draft_layers: int = 0
    """Multi-token prediction layers loaded from the checkpoint itself."""
    draft: Draft | None = None
    cpu_offload_bytes: int = 0
    """Weights that each GPU leaves in RAM."""
    kv_ram_bytes: int = 0
    """RAM in which the KV cache continues, over all ranks of one engine."""
    sleeps: bool = False
    """--enable-sleep-mode: weights may be moved to RAM as a whole."""
    api_servers: int = 1
    image_cache_bytes: int = 0
    """RAM that processed images may fill in each process."""
    flashinfer_attention: bool = False
    flashinfer_sampler: bool = True
    runner_v2: bool | None = None
    """None: as the version decides."""
    mxfp4_backend: str | None = None
    ssm_dtype_bytes: int | None = None
    cold_compile: bool = False
    """First start on a host, before the compile cache is filled."""

    @property
    def rules(self) -> Rules:
        """The rules of this version."""
        return rules_of(self.version)

    @property
    def is_first_stage(self) -> bool:
        """Whether the embedding stands here."""
        return self.stage == 0

    @property
    def is_last_stage(self) -> bool:
        """Whether the output stands here, and tokens are sampled."""
        return self.stage == self.pipeline_parallel - 1

    @property
    def drafts_here(self) -> Draft | None:
        """The draft model, where this stage holds it."""
        return self.draft if self.is_last_stage else None

    @property
    def gpus(self) -> int:
        """GPUs of the whole replica."""
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel

    @property
    def expert_ranks(self) -> int:
        """Ranks over which whole experts are spread; 1 when every rank holds a slice of each."""
        return self.tensor_parallel * self.data_parallel if self.expert_parallel else 1

    @property
    def expert_shards(self) -> int:
        """Ranks over which each expert is cut: data parallel ones count like tensor parallel ones.

        layers/fused_moe/config.py `FusedMoEParallelConfig.make`, 0.8.5 to 0.33.
        """
        return 1 if self.expert_parallel else self.tensor_parallel * self.data_parallel


def batch_defaults(kind: GpuKind, rules: Rules, *, offline: bool = False) -> tuple[int, int]:
    """Batched tokens and sequences that vLLM takes by itself on this GPU.

    engine/arg_utils.py `get_batch_defaults`, 0.8.5 to 0.33; `offline` is the LLM class, not serve.
    """
    total_bytes = kind.cuda_total_bytes
    big = total_bytes >= _BIG_BYTES and not ("a100" in kind.name.lower() and rules.a100_is_small)
    if rules.gb10_is_small and kind.compute == (12, 1):
        big = False
    huge = rules.huge_gpus and total_bytes >= 160 * GIB
    if not (big or huge):
        return (8192 if offline else 2048), 256
    tokens = 16384 if offline or huge else 8192
    return tokens, 1024 if rules.many_sequences else 256


# vLLM compares with 70 GiB of NVML memory; CUDA reports up to 0.9 GiB less on "80 GB" cards, and no
# card lies between 48 and 79 GiB but the 72 GB RTX PRO 5000, whose CUDA total is 71 GiB.
_BIG_BYTES = 139 * GIB // 2


def uses_runner_v2(shape: Shape, options: Options) -> bool:
    """Whether model runner V2 serves this model (config/vllm.py `use_v2_model_runner`, 0.23 on)."""
    if options.runner_v2 is not None:
        return options.runner_v2
    rules = options.rules
    if options.draft_method not in rules.v2_drafts:
        return False
    if rules.v2_all:
        return True
    if options.pooling or shape.recurrent or shape.encoder:
        return False
    if shape.experts:
        return shape.architecture in rules.v2_mixtures
    return rules.v2_decoders or (rules.v2_dense and shape.architecture in _FIRST_V2)


# The classes that model runner V2 began with.
_FIRST_V2 = frozenset({"LlamaForCausalLM", "MistralForCausalLM", "Qwen3ForCausalLM"})


# The class of Mistral's own format cuts its tower (models/pixtral.py, 0.32); older ones that were
# read (0.8) do not.
_CUT_MISTRAL = (0, 32, 0)


def vision_ranks(shape: Shape, options: Options) -> int:
    """Ranks that share what is cut of the tower."""
    family = shape.vision.family if shape.vision else "unknown"
    uncut = family == "mistral" and options.version < _CUT_MISTRAL
    return 1 if options.replicate_vision or uncut else options.tensor_parallel
