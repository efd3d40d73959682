"""The check pass: names that do not exist, rules that no fleet can keep, engines that refuse."""

from __future__ import annotations

import pytest

from compiler.check import Checked, check
from compiler.diagnostics import Diagnostic, Severity
from compiler.ir.lock import Lock
from compiler.load.inventory import load_inventory
from compiler.load.spec import load_spec
from compiler.load.yamltext import parse_yaml
from tests.generators.published import locked
from tests.marked import Fault, same_faults, unmarked

INVENTORY = """\
version: 1
defaults:
  ram: 64GiB
  engines:
    vllm: {version: 0.33.0}
    llama.cpp: {build: 9000}
hosts:
  tower: {labels: {zone: a}, gpus: [{kind: rtx-3090}, {kind: rtx-3090}]}
  rack-[1-2]: {labels: {zone: b}, gpus: {kind: a100-sxm-80gb, count: 4}}
"""
LLM = "Qwen/Qwen3-8B"
GGUF = "unsloth/Qwen3-8B-GGUF:Q4_K_M"
RERANKER = "BAAI/bge-reranker-v2-m3"
LOCK = Lock(sources=[locked(source) for source in (LLM, GGUF, RERANKER)])


def check_spec(services: str, *expected: Fault, inventory: str = INVENTORY) -> None:
    """The faults of services against an inventory, one at each mark in the services."""
    spec_text, places = unmarked(f"version: 1\nservices:\n{services}")
    found = faults_of(inventory, spec_text)
    assert {fault.location.path for fault in found if fault.location} <= {"models.yaml"}
    same_faults(found, places, expected)


def check_service(body: str, *expected: Fault, model: str = LLM) -> None:
    """The faults of one service, `chat`, one at each mark in its entry."""
    check_spec(f"  chat: {{model: '{model}', {body}}}\n", *expected)


def check_inventory(marked: str, *expected: Fault) -> None:
    """The faults of an inventory with one service, one at each mark in the inventory."""
    inventory, places = unmarked(marked)
    found = faults_of(inventory, f"version: 1\nservices:\n  chat: {{model: {LLM}}}\n")
    same_faults(
        [f for f in found if f.location and f.location.path != "models.yaml"], places, expected
    )


def faults_of(inventory_text: str, spec_text: str) -> list[Diagnostic]:
    """What check says of texts that load without a fault."""
    inventory_document = parse_yaml("inventory.yaml", inventory_text)
    inventory, inventory_faults = load_inventory(inventory_document)
    spec_document = parse_yaml("models.yaml", spec_text)
    spec, spec_faults = load_spec(spec_document)
    faults = [*inventory_faults, *spec_faults]
    assert [fault for fault in faults if fault.severity is Severity.ERROR] == []
    assert inventory is not None
    assert spec is not None
    return check(
        Checked(
            inventory=inventory,
            spec=spec,
            lock=LOCK,
            inventory_document=inventory_document,
            spec_document=spec_document,
        )
    )


class TestNames:
    """Services, hosts, GPUs and kinds that are named and do not exist."""

    def test_everything_exists(self) -> None:
        check_service("replicas: 2, placement: {hosts: {zone: [a, b]}, spread: host}")

    def test_a_kind_that_no_host_has(self) -> None:
        check_service(
            "placement: {gpus: {kinds: [a100-sxm-80gb, »rtx-3900]}}",
            (
                "unknown-gpu-kind",
                "asks for `rtx-3900`; the hosts of the inventory have `a100-sxm-80gb`, `rtx-3090`",
                "Did you mean `rtx-3090`?",
            ),
        )

    def test_a_kind_of_the_catalog_that_no_host_has(self) -> None:
        check_service(
            "placement: {gpus: {kinds: [»l4]}}", ("unknown-gpu-kind", "asks for `l4`", "")
        )

    def test_a_selected_host_that_does_not_exist(self) -> None:
        check_service(
            "placement: {hosts: {»name: towr}}",
            ("unknown-host", "selects the host `towr`", "Did you mean `tower`?"),
        )
        check_service(
            "placement: {hosts: {name: [tower, »nas]}}",
            ("unknown-host", "selects the host `nas`", "Hosts there are: `rack-1`, `rack-2`"),
        )

    def test_a_pin_to_a_host_that_does_not_exist(self) -> None:
        check_service(
            "placement: {pin: {»host: towr}}",
            ("unknown-host", "is pinned to `towr`", "Did you mean `tower`?"),
        )

    def test_a_pin_to_a_gpu_that_does_not_exist(self) -> None:
        check_service(
            "placement: {pin: {host: tower, gpus: [0, »2]}}",
            ("unknown-gpu", "`tower/2`; that host has 2 GPUs, counted from 0", ""),
        )

    def test_apart_from_a_service_that_does_not_exist(self) -> None:
        check_service(
            "placement: {apart_from: [»cht]}", ("unknown-service", "`cht`", "Did you mean `chat`?")
        )

    def test_freezing_a_service_that_does_not_exist(self) -> None:
        check_spec(
            f"  chat: {{model: {LLM}}}\npolicy: {{freeze: [chat, »chta]}}\n",
            ("unknown-service", "`chta`", "Did you mean `chat`?"),
        )

    def test_a_source_that_is_not_locked(self) -> None:
        check_spec(
            "  chat: {»model: Qwen/Qwen3-9B}\n",
            ("lock-missing", "`Qwen/Qwen3-9B`", "Run `modelc lock`"),
        )

    def test_the_source_of_a_variant_that_is_not_locked(self) -> None:
        check_service(
            "variants: [{name: a}, {name: b, »model: x/y}]",
            ("lock-missing", "`x/y`", "Run `modelc lock`"),
        )


class TestSelectors:
    """Rules that leave a service no host, no GPU or no engine."""

    def test_a_label_that_no_host_has(self) -> None:
        check_service(
            "placement: {»hosts: {zone: c}}",
            (
                "selector-empty",
                "selects hosts with `zone: c`",
                "Labels there are: `zone: a`, `zone: b`.",
            ),
        )

    def test_labels_that_no_host_has_together(self) -> None:
        check_service(
            "placement: {»hosts: {zone: a, name: rack-1}}",
            ("selector-empty", "selects hosts with", "Labels there are"),
        )

    def test_a_kind_that_the_selected_hosts_do_not_have(self) -> None:
        check_service(
            "placement: {hosts: {zone: a}, »gpus: {kinds: [a100-sxm-80gb]}}",
            (
                "selector-empty",
                "selects GPUs that none of its hosts has (`tower`)",
                "Widen `kinds`",
            ),
        )

    def test_a_compute_capability_that_no_gpu_has(self) -> None:
        check_service(
            "placement: {»gpus: {min_compute: 9.0}}",
            ("selector-empty", "`rack-1`, `rack-2`, `tower`", "lower `min_compute`"),
        )

    def test_an_engine_that_no_host_has(self) -> None:
        check_spec(
            f"  »chat: {{model: {LLM}}}\n",
            (
                "engine-missing",
                "needs `vllm`, which none of its hosts has",
                "Add `engines: {vllm: ...}`",
            ),
            inventory=INVENTORY.replace("    vllm: {version: 0.33.0}\n", ""),
        )

    def test_a_compose_host_needs_an_image(self) -> None:
        check_spec(
            f"  »chat: {{model: {LLM}}}\n",
            ("engine-missing", "needs an `image` of `vllm`", "{vllm: {image: "),
            inventory=INVENTORY.replace("  ram:", "  target: compose\n  ram:"),
        )


class TestContradictions:
    """Rules of one service that cannot all hold."""

    def test_apart_from_itself(self) -> None:
        check_service(
            "placement: {»apart_from: [chat]}",
            ("contradiction", "is to be apart from itself", "`spread: gpu`"),
        )

    def test_more_replicas_than_hosts_to_spread_over(self) -> None:
        check_service(
            "replicas: 4, placement: {»spread: host}",
            (
                "contradiction",
                "wants 4 replicas on different hosts, and 3 can be",
                "Lower `replicas`",
            ),
        )

    def test_an_optional_service_spreads_as_far_as_it_can(self) -> None:
        check_service("replicas: 4, optional: true, placement: {spread: host}")

    def test_two_replicas_on_the_same_gpus(self) -> None:
        check_service(
            "replicas: 2, placement: {pin: {host: tower, »gpus: [0]}}",
            ("contradiction", "pins 2 replicas to the same GPUs", "Pin the host only"),
        )

    def test_one_gpu_twice(self) -> None:
        check_service(
            "placement: {pin: {host: tower, »gpus: [0, 0]}}",
            ("contradiction", "is pinned to one GPU twice", "Name each GPU once"),
        )


class TestEngines:
    """Versions, formats, tasks, contexts and arguments that an engine refuses."""

    @pytest.mark.parametrize("version", ["latest", "0.33.x", "9000"])
    def test_a_version_that_no_vllm_has(self, version: str) -> None:
        check_inventory(
            INVENTORY.replace("vllm: {version: 0.33.0", f"vllm: {{»version: '{version}'"),
            ("bad-engine-version", f"`{version}`", "`vllm --version`"),
        )

    def test_a_build_that_no_llama_cpp_has(self) -> None:
        check_inventory(
            INVENTORY.replace("llama.cpp: {build: 9000", "llama.cpp: {»build: master"),
            ("bad-engine-version", "Engine `llama.cpp`", "`llama-server --version`"),
        )

    def test_an_engine_that_units_cannot_see(self) -> None:
        hidden = "version: 0.33.0, »bin: /home/me/vllm/bin/vllm"
        check_inventory(
            INVENTORY.replace("vllm: {version: 0.33.0", f"vllm: {{{hidden}"),
            ("contradiction", "`/home/me/vllm/bin/vllm`", "write `target: script`"),
        )
        hidden = hidden.replace("»", "")
        scripts = INVENTORY.replace("vllm: {version: 0.33.0", f"vllm: {{{hidden}")
        check_inventory(scripts.replace("defaults:", "defaults:\n  target: script", 1))

    def test_the_version_of_one_host(self) -> None:
        check_inventory(
            INVENTORY.replace("tower: {", "tower: {engines: {vllm: {»version: x}}, "),
            ("bad-engine-version", "of host `tower`", "`vllm --version`"),
        )

    @pytest.mark.parametrize(
        ("version", "codes"), [("0.10", ["unsupported-argument"]), ("0.1", ["bad-engine-version"])]
    )
    def test_version_0_10_is_not_0_1(self, version: str, codes: list[str]) -> None:
        arguments = "vllm: {args: {kv_sharing_fast_prefill: true}}"
        found = faults_of(
            INVENTORY.replace("0.33.0", version),
            f"version: 1\nservices:\n  chat: {{model: {LLM}, {arguments}}}\n",
        )
        assert [fault.code for fault in found] == codes

    def test_a_version_whose_flags_nobody_knows(self) -> None:
        check_inventory(
            INVENTORY.replace("vllm: {version: 0.33.0", "vllm: {»version: 0.8.4"),
            ("bad-engine-version", "vLLM 0.8.4 is older than 0.8.5", "`vllm --version`"),
        )

    def test_llama_cpp_reads_gguf_only(self) -> None:
        check_spec(
            f"  chat: {{»model: {LLM}, engine: llama.cpp}}\n",
            ("engine-format", "llama.cpp reads GGUF files", ""),
        )

    def test_a_task_that_the_model_cannot_do(self) -> None:
        check_service("»task: generate", ("task-mismatch", "cannot generate", ""), model=RERANKER)

    def test_an_unknown_argument_that_is_close_to_a_known_one(self) -> None:
        check_service(
            "vllm: {args: {»enforce_eagr: true}}",
            ("unknown-argument", "`--enforce-eagr`", "Did you mean `enforce_eager`?"),
        )

    def test_an_unknown_argument_of_llama_cpp(self) -> None:
        check_service(
            "llama.cpp: {args: {»flash_atn: on}}",
            ("unknown-argument", "`--flash-atn`", "Did you mean `flash_attn`?"),
            model=GGUF,
        )

    @pytest.mark.parametrize("name", ["port", "max_model_len", "gpu_memory_utilization", "api_key"])
    def test_arguments_of_vllm_that_the_plan_decides(self, name: str) -> None:
        check_service(
            f"vllm: {{args: {{»{name}: 1}}}}",
            ("managed-argument", f"--{name.replace('_', '-')}", " "),
        )

    @pytest.mark.parametrize("name", ["port", "ctx_size", "n_gpu_layers", "api_key"])
    def test_arguments_of_llama_cpp_that_the_plan_decides(self, name: str) -> None:
        check_service(
            f"llama.cpp: {{args: {{»{name}: 1}}}}",
            ("managed-argument", f"`{name}`", f"Remove `{name}`"),
            model=GGUF,
        )

    def test_a_value_that_the_engine_refuses(self) -> None:
        check_service(
            "vllm: {args: {»enforce_eager: maybe}}",
            ("wrong-argument", "takes true or false, not `maybe`", ""),
        )

    def test_arguments_of_the_other_engine_are_not_asked_about(self) -> None:
        check_service("llama.cpp: {args: {no_such_flag: 1}}")

    def test_a_context_beyond_the_model(self) -> None:
        found = faults_of(
            INVENTORY, f"version: 1\nservices:\n  chat: {{model: {LLM}, context: 50000}}\n"
        )
        assert {fault.code for fault in found} == {"context-too-long"}
        assert "50,000" in found[0].detail
        assert found[0].hints == ("Write `context: 40960` or less.",)

    def test_the_whole_context_of_the_model(self) -> None:
        check_service("context: 40960")


class TestEnvironment:
    """Variables that the plan itself sets."""

    @pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"])
    def test_the_choice_of_gpus_is_the_plans(self, name: str) -> None:
        check_service(f"env: {{»{name}: '0'}}", ("managed-argument", f"`{name}`", "placement"))

    @pytest.mark.parametrize(
        "name",
        [
            *("CUDA_VISIBLE_DEVICES", "HF_HOME", "VLLM_CACHE_ROOT", "HOME", "PATH", "VLLM_PORT"),
            *("XDG_CACHE_HOME", "CREDENTIALS_DIRECTORY", "VLLM_DP_SIZE"),
        ],
    )
    def test_a_variable_that_the_plan_decides_is_no_secret(self, name: str) -> None:
        check_service(f"secrets: [»{name}]", ("managed-argument", f"`{name}`", " "))
        check_service(f"env: {{»{name}: x}}", ("managed-argument", f"`{name}`", " "))

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE", "size of FlashInfer's workspace"),
            ("VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS", "CUDA graphs are counted"),
            ("VLLM_USE_V2_MODEL_RUNNER", "another engine or runner"),
            ("VLLM_USE_FLASHINFER_MOE_FP8", "the experts' kernels"),
            ("PYTORCH_NO_CUDA_MEMORY_CACHING", "PyTorch's allocator"),
            ("NCCL_BUFFSIZE", "NCCL's buffers"),
            ("LD_PRELOAD", "code of your own"),
            ("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT", "another process's"),
        ],
    )
    def test_variables_of_vllm_that_change_memory(self, name: str, why: str) -> None:
        wanted = ("unsupported-argument", f"`{name}` changes what the engine takes: ", "Take it")
        check_service(f"env: {{»{name}: '1'}}", wanted)
        check_service(f"secrets: [A, »{name}]", ("unsupported-argument", why, "Take it out."))

    def test_allocator_settings_say_what_vllm_does_itself(self) -> None:
        check_service(
            "env: {»PYTORCH_CUDA_ALLOC_CONF: '1'}",
            ("unsupported-argument", "PyTorch's allocator", "Leave it out: vLLM loads weights"),
        )

    def test_the_attention_backend_is_an_argument(self) -> None:
        check_service(
            "env: {»VLLM_ATTENTION_BACKEND: FLASHINFER}",
            ("unsupported-argument", "attention backend", "args: {attention_backend: ...}"),
        )

    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("LLAMA_ARG_CTX_SIZE", "managed-argument"),
            ("GGML_CUDA_DEVICES", "managed-argument"),
            ("GGML_CUDA_ENABLE_UNIFIED_MEMORY", "unsupported-argument"),
            ("GGML_OP_OFFLOAD_MIN_BATCH", "unsupported-argument"),
            ("LLAMA_SET_ROWS", "unsupported-argument"),
        ],
    )
    def test_variables_of_llama_cpp(self, name: str, code: str) -> None:
        check_service(f"env: {{»{name}: '1'}}", (code, f"`{name}`", " "), model=GGUF)
        check_service(f"secrets: [»{name}]", (code, f"`{name}`", " "), model=GGUF)

    @pytest.mark.parametrize("name", ["NCCL_DEBUG", "LLAMA_CACHE", "LC_ALL", "TZ"])
    def test_variables_that_change_no_memory(self, name: str) -> None:
        check_service(f"env: {{{name}: x}}")
        check_service(f"env: {{{name}: x}}", model=GGUF)

    @pytest.mark.parametrize(
        "name",
        [
            *("HF_TOKEN", "VLLM_API_KEY", "LLAMA_API_KEY", "NVIDIA_API_KEY", "from", "secrets"),
            *("value", "AWS_ACCESS_KEY_ID", "HTTPS_PROXY", "DATABASE_URL", "pip_token", "S"),
        ],
    )
    def test_names_of_secrets(self, name: str) -> None:
        check_service(f"secrets: [{name}]")

    @pytest.mark.parametrize(
        "name",
        [
            *("UID", "EUID", "LC_ALL", "LANG", "PYTHONPATH", "PYTHONWARNINGS", "RANDOM"),
            *("GLIBC_TUNABLES", "OMP_NUM_THREADS", "NCCL_DEBUG", "VLLM_LOGGING_LEVEL", "TMPDIR"),
        ],
    )
    def test_names_that_no_secret_can_have(self, name: str) -> None:
        check_service(f"secrets: [»{name}]", ("secret-name", f"`{name}`", f"env: {{{name}: ...}}"))

    @pytest.mark.parametrize("name", ["ENV", "BASH_ENV", "SHELLOPTS", "IFS", "modelc_value"])
    def test_names_that_are_the_shells_or_ours(self, name: str) -> None:
        check_service(f"secrets: [»{name}]", ("managed-argument", f"`{name}`", " "))
        check_service(f"env: {{»{name}: x}}", ("managed-argument", f"`{name}`", " "))

    def test_a_variable_of_the_other_engine_changes_nothing(self) -> None:
        check_service("env: {NCCL_BUFFSIZE: '1'}", model=GGUF)
        check_service("env: {LLAMA_SET_ROWS: '1'}")

    def test_a_variable_that_is_also_a_secret(self) -> None:
        check_service(
            "env: {A: x}, secrets: [»A]",
            ("name-collision", "`A` under `env` and under `secrets`", "Keep it"),
        )


def test_faults_of_several_services_are_told_together() -> None:
    check_spec(
        f"  a: {{model: {LLM}, placement: {{gpus: {{kinds: [»l4]}}, pin: {{»host: x}}}}}}\n"
        "  b: {»model: x/y}\n"
        f"  c: {{model: {LLM}, placement: {{»apart_from: [c]}}}}\n",
        ("unknown-gpu-kind", "`l4`", ""),
        ("unknown-host", "`x`", "Hosts there are: `rack-1`, `rack-2`"),
        ("lock-missing", "`x/y`", "modelc lock"),
        ("contradiction", "`c` is to be apart from itself", "spread"),
    )
