"""config.json of well-known architectures in their published shapes, defaults left out."""

from __future__ import annotations

from typing import Any


def _dense(  # noqa: PLR0913, PLR0917 (a table)
    architecture: str,
    model_type: str,
    layers: int,
    hidden: int,
    inner: int,
    heads: int,
    kv_heads: int,
    vocabulary: int,
    positions: int,
    **more: Any,  # noqa: ANN401 (any JSON value)
) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "torch_dtype": "bfloat16",
        **more,
    }


_GEMMA3_TEXT = {
    "model_type": "gemma3_text",
    "hidden_size": 5376,
    "intermediate_size": 21504,
    "num_attention_heads": 32,
    "num_hidden_layers": 62,
    "num_key_value_heads": 16,
    "head_dim": 128,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    "sliding_window": 1024,
}
_MISTRAL_TEXT = {
    "model_type": "mistral",
    "hidden_size": 5120,
    "intermediate_size": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 131072,
    "sliding_window": None,
    "vocab_size": 131072,
}
_DEEPSEEK = {
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 2048,
    "first_k_dense_replace": 3,
    "num_nextn_predict_layers": 1,
    "quantization_config": {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "weight_block_size": [128, 128],
        "activation_scheme": "dynamic",
    },
    "rope_scaling": {
        "type": "yarn",
        "factor": 40,
        "original_max_position_embeddings": 4096,
    },
}
_QWEN3_NEXT = {
    "head_dim": 256,
    "full_attention_interval": 4,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_value_head_dim": 128,
    "num_experts": 512,
    "num_experts_per_tok": 10,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
}
_BERT = {"position_embedding_type": "absolute", "type_vocab_size": 2, "torch_dtype": "float32"}

CONFIGS: dict[str, dict[str, Any]] = {
    "Llama-3.2-3B": _dense(
        "LlamaForCausalLM", "llama", 28, 3072, 8192, 24, 8, 128256, 131072,
        head_dim=128, tie_word_embeddings=True,
    ),
    "Mistral-7B-v0.3": _dense(
        "MistralForCausalLM", "mistral", 32, 4096, 14336, 32, 8, 32768, 32768, sliding_window=None
    ),
    "Mixtral-8x7B": _dense(
        "MixtralForCausalLM", "mixtral", 32, 4096, 14336, 32, 8, 32000, 32768,
        num_local_experts=8, num_experts_per_tok=2,
    ),
    "Qwen2.5-7B": _dense("Qwen2ForCausalLM", "qwen2", 28, 3584, 18944, 28, 4, 152064, 131072),
    "Qwen3-30B-A3B": _dense(
        "Qwen3MoeForCausalLM", "qwen3_moe", 48, 2048, 6144, 32, 4, 151936, 40960,
        head_dim=128, num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768,
    ),
    "Qwen3-Next-80B-A3B": _dense(
        "Qwen3NextForCausalLM", "qwen3_next", 48, 2048, 5120, 16, 2, 151936, 262144, **_QWEN3_NEXT
    ),
    "Qwen2.5-VL-7B": _dense(
        "Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl", 28, 3584, 18944, 28, 4, 152064, 128000,
        rope_scaling={"type": "mrope", "mrope_section": [16, 24, 24]},
        vision_config={"depth": 32, "hidden_size": 1280, "num_heads": 16, "patch_size": 14},
    ),
    "DeepSeek-V3": _dense(
        "DeepseekV3ForCausalLM", "deepseek_v3", 61, 7168, 18432, 128, 128, 129280, 163840,
        **_DEEPSEEK,
    ),
    "Gemma-2-9B": _dense(
        "Gemma2ForCausalLM", "gemma2", 42, 3584, 14336, 16, 8, 256000, 8192, head_dim=256
    ),
    "Gemma-3-27B": {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": _GEMMA3_TEXT,
        "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27, "patch_size": 14},
        "torch_dtype": "bfloat16",
    },
    "Mistral-Small-3.2-24B": {
        "architectures": ["Mistral3ForConditionalGeneration"],
        "model_type": "mistral3",
        "text_config": _MISTRAL_TEXT,
        "vision_config": {"hidden_size": 1024, "num_hidden_layers": 24, "image_size": 1540},
        "torch_dtype": "bfloat16",
    },
    "Phi-3.5-mini": _dense(
        "Phi3ForCausalLM", "phi3", 32, 3072, 8192, 32, 32, 32064, 131072,
        original_max_position_embeddings=4096,
        rope_scaling={"type": "longrope", "long_factor": [1.0] * 48, "short_factor": [1.0] * 48},
    ),
    "Command-R7B": _dense(
        "Cohere2ForCausalLM", "cohere2", 32, 4096, 14336, 32, 8, 256000, 132096, sliding_window=4096
    ),
    "GLM-4.5-Air": _dense(
        "Glm4MoeForCausalLM", "glm4_moe", 46, 4096, 10944, 96, 8, 151552, 131072,
        head_dim=128, n_routed_experts=128, n_shared_experts=1, num_experts_per_tok=8,
        moe_intermediate_size=1408, first_k_dense_replace=1, num_nextn_predict_layers=1,
    ),
    "Jamba-1.5-Mini": _dense(
        "JambaForCausalLM", "jamba", 32, 4096, 14336, 32, 8, 65536, 262144,
        attn_layer_period=8, attn_layer_offset=4, num_experts=16, num_experts_per_tok=2,
        mamba_d_state=16, mamba_d_conv=4, mamba_expand=2,
    ),
    "Falcon-7B": {
        "architectures": ["FalconForCausalLM"],
        "model_type": "falcon",
        "num_hidden_layers": 32,
        "hidden_size": 4544,
        "num_attention_heads": 71,
        "vocab_size": 65024,
        "alibi": False,
        "torch_dtype": "bfloat16",
    },
    "GPT-2": {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": 768,
        "n_head": 12,
        "n_layer": 12,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        "vocab_size": 50257,
    },
    "Mamba-2.8B": {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "hidden_size": 2560,
        "num_hidden_layers": 64,
        "state_size": 16,
        "vocab_size": 50280,
        "torch_dtype": "float32",
    },
    "bge-base-en-v1.5": _dense(
        "BertModel", "bert", 12, 768, 3072, 12, 12, 30522, 512, **_BERT
    ),
    "ms-marco-MiniLM-L6-v2": _dense(
        "BertForSequenceClassification", "bert", 6, 384, 1536, 12, 12, 30522, 512,
        id2label={"0": "LABEL_0"}, **_BERT,
    ),
    "roberta-large-mnli": _dense(
        "RobertaForSequenceClassification", "roberta", 24, 1024, 4096, 16, 16, 50265, 514,
        id2label={"0": "CONTRADICTION", "1": "NEUTRAL", "2": "ENTAILMENT"}, **_BERT,
    ),
    "ModernBERT-base": _dense(
        "ModernBertForMaskedLM", "modernbert", 22, 768, 1152, 12, 12, 50368, 8192,
        global_attn_every_n_layers=3, local_attention=128,
    ),
    "flan-t5-xl": {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "d_model": 2048,
        "d_ff": 5120,
        "num_heads": 32,
        "num_layers": 24,
        "num_decoder_layers": 24,
        "vocab_size": 32128,
        "n_positions": 512,
        "torch_dtype": "float32",
    },
}  # fmt: skip
