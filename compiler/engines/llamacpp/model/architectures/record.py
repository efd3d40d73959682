"""What one `general.architecture` is to the memory law, beside what its header says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# followed: exact, and the graph code of older builds was followed back, log by log. exact: the
# graph is rebuilt node by node and compared with libllama's own sizes; of other builds than the
# studied source nothing is known. neighbour: weights and cache were looked at (`create_memory`,
# `load_arch_hparams`), the graph is that of a neighbour. unknown: what it keeps is not followed.
Proven = Literal["followed", "exact", "neighbour", "unknown"]

# header: where the header says so. in-windows: in layers with a window only, or in all when none
# has one. not-every-fourth: in three layers of four. but-forty-layers: the model of forty layers
# has biases by distance instead (models/baichuan.cpp).
Rope = Literal["always", "never", "header", "in-windows", "not-every-fourth", "but-forty-layers"]

# inside: behind attention, as the last layer of the model does. behind-norm: behind the last norm.
# before-norm: between the layer and that norm.
NextRows = Literal["", "inside", "behind-norm", "before-norm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Traits of one architecture; a default is what most have."""

    source: str = ""
    """Its file of llama.cpp's src/ in the studied source; empty where the name alone is known."""
    proven: Proven = "unknown"
    """How far the law was compared with llama.cpp: see `Proven`."""
    followed_since: int = 0
    """Logs from this build on agree with the law; 0: only the studied source is known, or all."""
    rewritten_percent: int = 0
    """Its graph was rewritten: until then it took up to so many percent more than the law says."""
    no_model: str = ""
    """What it is instead, where llama-server does not serve it by itself: `a projector`."""
    encoder: bool = False
    """No KV cache at all (llama-model.cpp `create_memory`)."""
    post_norm: bool = False
    """An encoder that normalizes what comes out of a layer (models/bert.cpp)."""
    encoder_blocks: bool = False
    """The file has encoder blocks (`llama_model_has_encoder`): output rows have no limit."""
    diffusion: bool = False
    """Text is refined in whole, without a cache."""
    ignores_cache: bool = False
    """It has a KV cache, and tokens attend to the batch alone."""
    loads_output: bool = False
    """An encoder that loads an output layer, if only to ignore it."""
    learned_positions: bool = False
    """An encoder that adds an embedding of the position."""
    rotary: bool = False
    """An encoder that turns Q and K with the position."""
    softmax_scores: bool = False
    """A classifier's scores pass a softmax (llama-graph.cpp `build_pooling`)."""
    layer_norm: bool = False
    """LayerNorm instead of RMSNorm in the decoder."""
    norm_behind_rope: bool = False
    """Q and K are normalized behind the rope."""
    four_positions: bool = False
    """Four position rows a token (multi-section rope)."""
    rope: Rope = "always"
    """Which layers turn Q and K with the position: see `Rope`."""
    squared: bool = False
    """Feed-forward layers without a gate square what passes (LLM_FFN_RELU_SQR)."""
    raw_weights: bool = False
    """Weights of the chosen experts are taken as they are (`build_moe_ffn`)."""
    header_normalizes: bool = False
    """The header says whether the weights of the chosen experts are normalized."""
    gating: int = 0
    """The router where the header says none (llama.h `llama_expert_gating_func_type`)."""
    scaled: bool = False
    """Embeddings, and what a layer adds, are scaled though the header names no scale."""
    scaled_residual: bool = False
    """What a layer adds is scaled where the header says so."""
    residual_first: bool = False
    """The residual is the first source of its sums, so that the sum is written over it."""
    last_residual_first: bool = False
    """The same for the last sum of a layer."""
    scaled_logits: bool = False
    """Logits are scaled where the header says so."""
    capped_logits: bool = False
    """Logits are capped."""
    late_rows: bool = False
    """Output rows are selected behind the last layer instead of inside it."""
    kept_before_norm: bool = False
    """Of these, the hidden state is kept before the last norm, and not behind it."""
    keeps_hidden: bool = False
    """The last hidden state is kept for a next-token head (`embeddings_nextn_masked`)."""
    next_cached: bool = False
    """Layers for next tokens had a cache in some builds, though they do not run."""
    output_first: bool = False
    """An output that is the embedding, too, lies on the host beside its copy."""
    recurrent: bool = False
    """State only, no attention (llama-arch.cpp `llm_arch_is_recurrent`)."""
    hybrid: bool = False
    """Attention layers and recurrent layers in one model (`llm_arch_is_hybrid`)."""
    both_in_each_layer: bool = False
    """Of these, each layer holds attention and a recurrent state at once."""
    delta_net: bool = False
    """Linear attention with one full layer in every `full_attention_interval`."""
    full_interval: int = 0
    """One layer in so many attends where the header does not say; 0: no such rule."""
    one_sequence: bool = False
    """A batch of one sequence is reserved too (`sched_reserve`): distances in it grow squared."""
    sliding_period: int = 0
    """One full layer in so many, the others with a window, where no pattern is in the header."""
    full_layer_first: bool = False
    """The full layer is the first of its round instead of the last."""
    default_window: int = 0
    """The window that the code sets when the header has none; 0: no window."""
    ignores_window: bool = False
    """The header names a window that llama.cpp does not use."""
    sparse_latent: bool = False
    """Latent attention to the cells that a lightning indexer chooses."""
    indexed: bool = False
    """The cache holds the keys of an indexer beside K and V (`create_memory`)."""
    lists_indexers: bool = False
    """Of these, the header says which layers have an indexer."""
    compressed: bool = False
    """A sliding cache, compressed rows and states instead of K and V (llama-kv-cache-dsv4.cpp)."""
    long_lived: bool = False
    """What one layer needs stays until the last, so that no round of layers is like the next."""
    late: bool = False
    """What a layer needs is computed when a layer behind it asks for it."""
    large_graph: bool = False
    """Its graph may have 40 nodes a token (`llama_context::graph_max_nodes`)."""
    larger_graph: bool = False
    """Its graph may have 160 nodes a token."""
    drafts_from_hidden: bool = False
    """It drafts from the hidden states of its model and not by itself (src/llama-arch.cpp)."""

    drafts_itself: bool = False
    """It has a graph for its layers for next tokens (`graph_mtp`)."""
    next_rows: NextRows = ""
    """Where that graph chooses the rows that give logits; empty: nobody has compared it."""
    rolls_back: bool = False
    """Recurrent states are kept to return to (llama-arch.cpp `llm_arch_supports_rs_rollback`)."""

    @property
    def exact(self) -> bool:
        """Whether its graph is rebuilt node by node and compared with libllama's own sizes."""
        return self.proven in ("exact", "followed")

    @property
    def looked_at(self) -> bool:
        """Whether its weights and its cache are known."""
        return self.proven != "unknown"

    @property
    def cacheless(self) -> bool:
        """Whether it keeps no KV cache."""
        return self.encoder or self.diffusion

    @property
    def batch_attention(self) -> bool:
        """Whether tokens attend to the batch (`build_attn_inp_no_cache`)."""
        return self.cacheless or self.ignores_cache
