"""config.json and its companions: layers, limits, quantization, task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.ir.facts import ModelFacts, Tensor
from compiler.ir.lock import Lock, LockedSource, lock_text, read_lock_text
from compiler.resolve import hfconfig
from compiler.resolve.gguf_facts import FactsMissingError
from compiler.resolve.hf_facts import BIN_INDEX, READ_DOCUMENTS, hf_facts
from compiler.resolve.hfdefaults import DEFAULTS
from compiler.resolve.hfquant import count_parameters, quantization_name, quantization_section
from tests.generators.hf_configs import CONFIGS
from tests.generators.models import qwen3_config, write_folder
from tests.requires import require_package

Json = dict[str, Any]


def facts(config: Json, **documents: object) -> ModelFacts:
    """Facts without tensors; documents are named without their suffix."""
    named = {f"{name}.json": document for name, document in documents.items()}
    return hf_facts("model", {"config.json": config, **named}, [])


def pooled(pooling: Json) -> tuple[str, str | None]:
    """Task and pooling of a model with this pooling module."""
    documents = {"modules.json": POOLING, "1_Pooling/config.json": pooling}
    found = hf_facts("model", {"config.json": qwen3_config(), **documents}, [])
    return found.task, found.pooling


# Sections, defaults, noise


def test_facts_of_a_flat_config() -> None:
    found = facts(qwen3_config())
    assert (found.format, found.architecture, found.task) == (
        "config",
        "Qwen3ForCausalLM",
        "generate",
    )
    assert (found.layers, found.vocabulary, found.position_limit) == (2, 1000, 4096)
    assert (found.parameters, found.quantization) == (0, "bf16")


def test_noise_is_dropped() -> None:
    noisy = qwen3_config(
        id2label={"0": "a", "1": "b"},
        temperature=0.7,
        attention_dropout=0.0,
        auto_map={"AutoModel": "x.Y"},
        sliding_window=None,
        long="x" * 300,
        many=list(range(2000)),
        time_step_limit=[0.0, float("inf")],
    )
    found = facts(noisy).header
    assert found["num_labels"] == 2
    assert found["time_step_limit"] == [0.0, "inf"]
    gone = {"id2label", "temperature", "attention_dropout", "auto_map", "sliding_window", "long"}
    assert not (gone | {"many", "eos_token_id", "transformers_version"}) & found.keys()


def test_the_header_is_sorted_all_through() -> None:
    found = facts(qwen3_config(z={"b": 1, "a": 2}, a=1)).header
    assert list(found) == sorted(found)
    assert found["z"] == {"a": 2, "b": 1}


@pytest.mark.parametrize("section", ["text_config", "llm_config", "language_config"])
def test_nested_language_models(section: str) -> None:
    config = {"architectures": ["SomeForConditionalGeneration"], section: qwen3_config()}
    found = facts(config)
    assert (found.layers, found.vocabulary, found.quantization) == (2, 1000, "bf16")


def test_a_thinker_holds_the_language_model() -> None:
    config = {
        "architectures": ["Qwen3OmniMoeForConditionalGeneration"],
        "thinker_config": {"text_config": qwen3_config(), "audio_config": {"d_model": 8}},
        "talker_config": {"text_config": qwen3_config(num_hidden_layers=9)},
    }
    assert facts(config).layers == 2


def test_defaults_fill_what_older_files_leave_out() -> None:
    """llava-1.5 says of its language model only what is not the default of LLaMA."""
    text = {"model_type": "llama", "max_position_embeddings": 4096, "vocab_size": 32064}
    found = facts({"architectures": ["LlavaForConditionalGeneration"], "text_config": text})
    assert (found.layers, found.vocabulary, found.position_limit) == (32, 32064, 4096)
    section = found.header["text_config"]
    assert isinstance(section, dict)
    assert (section["hidden_size"], section["tie_word_embeddings"]) == (4096, False)


def test_layers_that_are_listed_and_not_counted() -> None:
    """Nemotron-H as transformers 5 writes it: a kind for each block, and no number."""
    listed = {"model_type": "nemotron_h", "layers_block_type": ["mamba", "moe", "attention"]}
    found = facts({"architectures": ["NemotronHForCausalLM"], **listed})
    assert (found.layers, found.header["num_hidden_layers"]) == (3, 3)
    pattern = {"hybrid_override_pattern": "M-M*-"}
    assert facts({"architectures": ["NemotronHForCausalLM"], **pattern}).layers == 5
    both = {"num_hidden_layers": 2, **pattern}
    assert facts({"architectures": ["NemotronHForCausalLM"], **both}).layers == 2


def test_a_retriever_holds_a_whole_multimodal_model() -> None:
    """ColQwen2 and its like."""
    config = {
        "architectures": ["ColQwen2ForRetrieval"],
        "vlm_config": {"text_config": qwen3_config()},
    }
    found = facts(config)
    assert (found.layers, found.vocabulary, found.task) == (2, 1000, "embed")


def test_a_null_is_not_filled() -> None:
    config = {**qwen3_config(model_type="mistral"), "sliding_window": None}
    assert "sliding_window" not in facts(config).header
    del config["sliding_window"]
    assert facts(config).header["sliding_window"] == 4096


def test_defaults_are_those_of_transformers() -> None:
    transformers = require_package("transformers")
    for model_type, own in DEFAULTS.items():
        theirs = transformers.AutoConfig.for_model(model_type).to_dict()
        assert {key: theirs.get(key) for key in own} == own, model_type


# Longcat's class counts the two attentions of a block; FSMT and PP-FormulaNet give encoder and
# decoder numbers of their own; RWKV and XLNet have no limit that vLLM would read.
COUNTED_OTHERWISE = {
    "layers": {"longcat_flash", "pp_formulanet"},
    "vocabulary": {"fsmt"},
    "position_limit": {"rwkv", "xlnet"},
}
# Their own defaults do not pass their own checks.
WITHOUT_DEFAULT = {"gemma4_assistant", "nougat"}
# Position 0 is not theirs to use (`_OFFSET_POSITIONS`).
PADDED = {"camembert", "data2vec-text", "roberta", "xlm-roberta", "xlm-roberta-xl"}


def test_every_configuration_of_transformers_reads_as_its_class_says() -> None:
    """The default configuration of every class there is: facts that agree, or a refusal."""
    transformers = require_package("transformers")
    compared = 0
    for model_type in transformers.CONFIG_MAPPING:
        if model_type in WITHOUT_DEFAULT:
            continue
        config = transformers.AutoConfig.for_model(model_type)
        theirs = config.get_text_config(decoder=True)
        try:
            own = facts(
                {**json.loads(config.to_json_string(use_diff=False)), "architectures": ["X"]}
            )
        except FactsMissingError:
            continue
        offset = theirs.pad_token_id + 1 if model_type in PADDED else 0
        pairs = {
            "layers": getattr(theirs, "num_hidden_layers", None),
            "vocabulary": getattr(theirs, "vocab_size", None),
            "position_limit": (getattr(theirs, "max_position_embeddings", None) or offset) - offset,
        }
        for field, value in pairs.items():
            if value and model_type not in COUNTED_OTHERWISE[field]:
                assert getattr(own, field) == value, (model_type, field)
                compared += 1
    assert compared > 900


COMPARED = (
    *(
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
    ),
    *("head_dim", "intermediate_size", "max_position_embeddings"),
)


MEASURED = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in (Path(__file__).parent / "truth" / "vllm_configs").glob("*.json")
}


@pytest.mark.parametrize("name", sorted(CONFIGS | MEASURED))
def test_a_published_config_reads_as_transformers_reads_it(name: str, tmp_path: Path) -> None:
    transformers = require_package("transformers")
    config = (CONFIGS | MEASURED)[name]
    # Only the language model is compared, and some vision sections here are abridged.
    language = {key: value for key, value in config.items() if key != "vision_config"}
    write_folder(tmp_path, {"config.json": language})
    theirs = transformers.AutoConfig.from_pretrained(tmp_path).get_text_config()
    # Values for all layers are compared, also of a model whose layers may differ.
    theirs.allow_global_per_layer_attribute_access = True
    own = hfconfig.text_section(hfconfig.with_defaults(config))
    if "qk_rope_head_dim" in own:
        # Of latent attention it is nobody's width: Transformers writes over it.
        own = {key: value for key, value in own.items() if key != "head_dim"}
    assert {key: own[key] for key in COMPARED if key in own} == {
        key: getattr(theirs, key) for key in COMPARED if key in own
    }
    assert hfconfig.layers({"text_config": own}) == theirs.num_hidden_layers
    if "tie_word_embeddings" in own and hasattr(theirs, "tie_word_embeddings"):
        assert own["tie_word_embeddings"] == theirs.tie_word_embeddings


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "does not say `architectures`"),
        ({"architectures": []}, "does not say `architectures`"),
        ({"architectures": ["X"]}, "does not say `num_hidden_layers`"),
        ({"architectures": ["X"], "num_hidden_layers": "2"}, "does not say `num_hidden_layers`"),
        ({"architectures": ["X"], "num_hidden_layers": 10**9}, "speaks of 1000000000 layers"),
    ],
)
def test_a_config_that_says_too_little(config: Json, words: str) -> None:
    with pytest.raises(FactsMissingError, match=words):
        facts(config)


KEYS = st.sampled_from(
    [
        *("architectures", "model_type", "num_hidden_layers", "vocab_size", "text_config", "bits"),
        *("max_position_embeddings", "rope_scaling", "factor", "rope_type", "quant_method"),
        *("quantization_config", "config_groups", "weights", "num_bits", "id2label", "dtype"),
        *(
            "thinker_config",
            "pooling_mode",
            "max_seq_length",
            "type",
            "chat_template",
            "quant_algo",
        ),
        *(
            "pad_token_id",
            "original_max_position_embeddings",
            "weight_block_size",
            "model_max_length",
        ),
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["llama", "roberta", "yarn", "linear", "awq", "compressed-tensors", "float"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)


@given(
    st.dictionaries(KEYS, JSON, max_size=8),
    st.dictionaries(st.sampled_from([*READ_DOCUMENTS, "1_Pooling/config.json"]), JSON),
)
def test_any_configuration_gives_facts_or_is_refused(config: Json, documents: Json) -> None:
    """Facts that can be locked and read again, or a refusal; never a crash."""
    for base in ({}, qwen3_config()):
        try:
            found = hf_facts("m", {**documents, "config.json": {**base, **config}}, [])
        except FactsMissingError:
            continue
        lock = Lock(sources=[LockedSource(source="./m", files=[], facts=found)])
        assert read_lock_text(lock_text(lock)) == lock


# Limits


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 4096),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, 8192),
        ({"rope_scaling": {"type": "dynamic", "factor": 4}}, 16384),
        ({"rope_scaling": {"type": "mrope", "mrope_section": [1, 2]}}, 4096),
        (
            {
                "rope_scaling": {
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 1024,
                }
            },
            4096,
        ),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, 8192),
        (
            {
                "rope_scaling": None,
                "rope_parameters": {
                    "full_attention": {
                        "rope_type": "yarn",
                        "factor": 8.0,
                        "original_max_position_embeddings": 1024,
                    },
                    "sliding_attention": {"rope_type": "default"},
                },
            },
            8192,
        ),
        ({"rope_parameters": {"full_attention": None}}, 4096),
        ({"rope_scaling": None}, 4096),
        ({"max_position_embeddings": None}, 0),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514}, 512),
    ],
)
def test_position_limit(changes: Json, limit: int) -> None:
    assert facts(qwen3_config(**changes)).position_limit == limit


def test_sentence_transformers_lower_the_limit() -> None:
    config = qwen3_config(architectures=["BertModel"])
    assert facts(config, sentence_bert_config={"max_seq_length": 256}).position_limit == 256
    assert (
        facts(qwen3_config(), sentence_bert_config={"max_seq_length": 256}).position_limit == 4096
    )


def test_a_length_that_is_none_lowers_no_limit() -> None:
    config = qwen3_config(architectures=["BertModel"])
    found = facts(config, sentence_bert_config={"max_seq_length": -512})
    assert found.position_limit == facts(config).position_limit


def test_a_tokenizer_lowers_the_limit_of_fixed_positions() -> None:
    tokenizer = {"model_max_length": 512}
    config = qwen3_config(architectures=["BertModel"], position_embedding_type="absolute")
    assert facts(config, tokenizer_config=tokenizer).position_limit == 512
    config["position_embedding_type"] = "rotary"
    assert facts(config, tokenizer_config=tokenizer).position_limit == 4096


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({"max_new_tokens": 2048}, 2048),
        ({"max_length": 2048}, 0),
        ({"max_new_tokens": None}, 0),
        ({"max_new_tokens": -1}, 0),
        ({"max_new_tokens": "all"}, 0),
        ([], 0),
    ],
)
def test_answer_limit(settings: object, limit: int) -> None:
    assert facts(qwen3_config(), generation_config=settings).answer_limit == limit


def test_older_models_limit_answers_in_their_configuration() -> None:
    assert facts(qwen3_config(max_new_tokens=99)).answer_limit == 99
    assert facts(qwen3_config(max_new_tokens=99), generation_config={}).answer_limit == 0


def test_a_model_that_embeds_gives_no_answers() -> None:
    config = qwen3_config(architectures=["Qwen3Model"])
    assert facts(config, generation_config={"max_new_tokens": 9}).answer_limit == 0


# Quantization


def scheme(bits: int, kind: str = "int", **more: object) -> Json:
    return {"weights": {"num_bits": bits, "type": kind, **more}}


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ({"quant_method": "awq", "bits": 4}, "awq-4bit"),
        ({"quant_method": "awq", "w_bit": 4}, "awq-4bit"),
        ({"quant_method": "gptq", "bits": 8}, "gptq-8bit"),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {"+:x": {"bits": 8}}}, "gptq-4bit-mixed"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "fbgemm_fp8"}, "fp8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bnb-4bit"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bnb-8bit"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "quark"}, "quark"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": scheme(8, "float")}}, "fp8"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": scheme(4, "float", group_size=16)},
            },
            "nvfp4",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": scheme(4, "float", group_size=32)},
            },
            "mxfp4",
        ),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": scheme(4)}}, "w4a16"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": scheme(4), "b": scheme(8, "float")},
            },
            "fp8+w4a16",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {**scheme(8), "input_activations": {"num_bits": 8}}},
            },
            "w8a8",
        ),
    ],
)
def test_quantization_names(section: Json, name: str) -> None:
    assert facts(qwen3_config(quantization_config=section)).quantization == name


@pytest.mark.parametrize(
    ("dtype", "name"), [("float16", "fp16"), ("float32", "fp32"), ("torch.bfloat16", "bf16")]
)
def test_unquantized_names(dtype: str, name: str) -> None:
    assert facts(qwen3_config(torch_dtype=dtype)).quantization == name
    assert facts(qwen3_config(torch_dtype=None, dtype=dtype)).quantization == name


def test_without_a_dtype_the_tensors_tell() -> None:
    tensors = [Tensor(name="a", dtype="F16", shape=[4], bytes=8)]
    assert quantization_name({}, None, tensors) == "fp16"
    assert quantization_name({}, None, []) == "unknown"


def test_quantization_kept_in_other_files() -> None:
    config = {"config.json": qwen3_config()}
    modelopt = {"quantization": {"quant_algo": "NVFP4", "group_size": 16}}
    assert quantization_section({**config, "hf_quant_config.json": modelopt}) == {
        "quant_method": "modelopt",
        "quant_algo": "NVFP4",
        "group_size": 16,
    }
    old = {**config, "quantize_config.json": {"bits": 4, "group_size": 128}}
    assert quantization_section(old)["quant_method"] == "gptq"
    header = facts(qwen3_config(), quant_config={"w_bit": 4, "q_group_size": 128}).header
    assert header["quantization_config"] == {"quant_method": "awq", "q_group_size": 128, "w_bit": 4}
    nested = {"config.json": {"text_config": {"quantization_config": {"quant_method": "fp8"}}}}
    assert quantization_section(nested) == {"quant_method": "fp8"}


@pytest.mark.parametrize(
    ("section", "tensors", "count"),
    [
        ({}, [("a.weight", "BF16", [10, 10]), ("a.bias", "BF16", [10])], 110),
        (
            {"quant_method": "awq", "bits": 4},
            [
                ("a.qweight", "I32", [128, 16]),
                ("a.qzeros", "I32", [1, 16]),
                ("a.scales", "F16", [1]),
            ],
            128 * 128,
        ),
        ({"quant_method": "gptq", "bits": 8}, [("a.qweight", "I32", [32, 128])], 128 * 128),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"g": scheme(4)}},
            [("a.weight_packed", "I32", [128, 16]), ("a.weight_shape", "I64", [2])],
            128 * 128,
        ),
        (
            {"quant_method": "gptq", "bits": 3},
            [
                ("a.qweight", "I32", [12, 512]),
                ("a.qzeros", "I32", [1, 48]),
                ("a.scales", "F16", [1, 512]),
            ],
            128 * 512,
        ),
        (
            {"quant_method": "gptq", "bits": 4, "dynamic": {r"+:b": {"bits": 8}}},
            [
                ("a.qweight", "I32", [16, 512]),
                ("a.qzeros", "I32", [1, 64]),
                ("a.scales", "F16", [1, 512]),
                ("b.qweight", "I32", [32, 512]),
                ("b.qzeros", "I32", [1, 128]),
                ("b.scales", "F16", [1, 512]),
            ],
            2 * 128 * 512,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "a": {"weights": {"num_bits": 8, "group_size": 128}},
                    "b": {"weights": {"num_bits": 4, "group_size": 128}},
                    "c": {"weights": {"num_bits": 3, "group_size": 128}},
                },
            },
            [
                ("a.weight_packed", "I32", [512, 64]),
                ("a.weight_scale", "BF16", [512, 2]),
                ("b.weight_packed", "I32", [512, 32]),
                ("b.weight_scale", "BF16", [512, 2]),
                ("b.weight_zero_point", "I32", [64, 2]),
                ("b.weight_g_idx", "I32", [256]),
                ("c.weight_packed", "I32", [512, 26]),
                ("c.weight_scale", "BF16", [512, 2]),
            ],
            3 * 512 * 256,
        ),
        (
            {"quant_method": "mxfp4"},
            [("e.up_proj_blocks", "U8", [2, 8, 3, 16]), ("e.up_proj_scales", "U8", [2, 8, 3])],
            2 * 8 * 3 * 32,
        ),
        (
            {"quant_method": "fp8"},
            [("a.weight", "F8_E4M3", [8, 8]), ("a.weight_scale_inv", "F32", [1, 1])],
            64,
        ),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True},
            [("a.weight", "U8", [32, 1]), ("a.weight.absmax", "U8", [1])],
            64,
        ),
    ],
)
def test_parameters_are_counted_through_packing(
    section: Json, tensors: list[tuple[str, str, list[int]]], count: int
) -> None:
    made = [Tensor(name=n, dtype=d, shape=s, bytes=0) for n, d, s in tensors]
    assert count_parameters(made, section) == count


@pytest.mark.parametrize(
    ("index", "dtype", "count"),
    [
        ({"metadata": {"total_size": 400}}, "float16", 200),
        ({"metadata": {"total_size": 4e2}}, "float32", 100),
        ({"metadata": {"total_size": 400}}, None, 0),
        ({"metadata": {"total_size": -400}}, "float16", 0),
        ({"metadata": {"total_size": "400"}}, "float16", 0),
        ({"metadata": None}, "float16", 0),
        ([], "float16", 0),
    ],
)
def test_parameters_by_the_index_of_pytorch_files(index: object, dtype: str, count: int) -> None:
    documents = {"config.json": qwen3_config(torch_dtype=dtype), BIN_INDEX: index}
    assert hf_facts("m", documents, []).parameters == count


def test_packed_weights_are_not_counted_by_their_size() -> None:
    config = qwen3_config(quantization_config={"quant_method": "gptq", "bits": 4})
    documents = {"config.json": config, BIN_INDEX: {"metadata": {"total_size": 400}}}
    assert hf_facts("m", documents, []).parameters == 0


# Tasks

QUESTION = 'Judge. Note that the answer can only be "yes" or "no".'
POOLING = [
    {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


@pytest.mark.parametrize(
    ("architecture", "changes", "task"),
    [
        ("LlamaForCausalLM", {}, "generate"),
        ("LlavaForConditionalGeneration", {}, "generate"),
        ("GPT2LMHeadModel", {}, "generate"),
        ("InternVLChatModel", {}, "generate"),
        ("MiniCPMV", {"auto_map": {"AutoModelForCausalLM": "m.MiniCPMV"}}, "generate"),
        ("NewModel", {"auto_map": {"AutoModelForMaskedLM": "m.NewModel"}}, "embed"),
        ("BertModel", {}, "embed"),
        ("ModernBertForMaskedLM", {}, "embed"),
        ("XLMRobertaForSequenceClassification", {"id2label": {"0": "LABEL_0"}}, "rerank"),
        ("BertForSequenceClassification", {"num_labels": 1}, "rerank"),
        ("BertForSequenceClassification", {"id2label": {"0": "no", "1": "yes"}}, "classify"),
        ("BertForSequenceClassification", {}, "classify"),
        ("BertForTokenClassification", {"num_labels": 1}, "classify"),
        ("Qwen2ForRewardModel", {}, "classify"),
        ("JinaForRanking", {}, "rerank"),
    ],
)
def test_tasks_by_architecture(architecture: str, changes: Json, task: str) -> None:
    assert facts(qwen3_config(architectures=[architecture], **changes)).task == task


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("Qwen3-Reranker-4B", "rerank"),
        ("bge-reranker-v2-gemma", "rerank"),
        ("Qwen3-Embedding-8B", "embed"),
        ("llama-embed-nemotron-8b", "embed"),
        ("Qwen3-8B", "generate"),
        ("prerank-chat", "generate"),
    ],
)
def test_tasks_by_name(name: str, task: str) -> None:
    assert hf_facts(name, {"config.json": qwen3_config()}, []).task == task


def test_a_pooling_module_embeds() -> None:
    pooling = {"pooling_mode_lasttoken": True, "pooling_mode_cls_token": False}
    assert pooled(pooling) == ("embed", "last")


@pytest.mark.parametrize(
    ("pooling", "kind"),
    [
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, None),
        ({}, None),
    ],
)
def test_pooling_kinds(pooling: Json, kind: str | None) -> None:
    assert pooled(pooling) == ("embed", kind)


def test_a_cross_encoder_reranks() -> None:
    settings = {"model_type": "CrossEncoder"}
    assert facts(qwen3_config(), config_sentence_transformers=settings).task == "rerank"


@pytest.mark.parametrize(
    "beside",
    [{"tokenizer_config.json": {"chat_template": QUESTION}}, {"chat_template.jinja": QUESTION}],
)
def test_the_question_of_qwen3_reranker(beside: dict[str, object]) -> None:
    assert hf_facts("judge", {"config.json": qwen3_config(), **beside}, []).task == "rerank"
