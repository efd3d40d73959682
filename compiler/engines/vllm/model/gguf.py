"""A GGUF file as vLLM sees it: its header as a config.json."""

from __future__ import annotations

from compiler.ir.facts import HeaderValue, ModelFacts

# Architectures that transformers' GGUF loader knows (modeling_gguf_pytorch_utils.py, 4.50 to 4.57),
# through which vLLM gets its config, as (model_type, architecture).
_ARCHITECTURES: dict[str, tuple[str, str]] = {
    "llama": ("llama", "LlamaForCausalLM"),
    "qwen2": ("qwen2", "Qwen2ForCausalLM"),
    "qwen2moe": ("qwen2_moe", "Qwen2MoeForCausalLM"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM"),
    "qwen3moe": ("qwen3_moe", "Qwen3MoeForCausalLM"),
    "phi3": ("phi3", "Phi3ForCausalLM"),
    "gemma2": ("gemma2", "Gemma2ForCausalLM"),
    "gemma3": ("gemma3_text", "Gemma3ForCausalLM"),
    "starcoder2": ("starcoder2", "Starcoder2ForCausalLM"),
}
_KEYS = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
}


def reads_architecture(facts: ModelFacts) -> bool:
    """Whether vLLM can load this GGUF architecture at all."""
    return facts.architecture in _ARCHITECTURES


def config_of(facts: ModelFacts) -> dict[str, HeaderValue]:
    """The config.json that vLLM makes of the file's header."""
    model_type, architecture = _ARCHITECTURES.get(facts.architecture, (facts.architecture, ""))
    config: dict[str, HeaderValue] = {
        name: facts.header[key] for name, key in _KEYS.items() if key in facts.header
    }
    config["model_type"] = model_type
    config["architectures"] = [architecture]
    config["vocab_size"] = facts.vocabulary
    config["tie_word_embeddings"] = all(group.name != "output.weight" for group in facts.tensors)
    config["quantization_config"] = {"quant_method": "gguf"}
    return config
