"""llama-server's command line: the flags emitted are the flags costed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.engines.llamacpp.demand.demands import options_of
from compiler.engines.llamacpp.engine import ENGINE
from compiler.engines.llamacpp.flags.builds import parse_build
from compiler.engines.llamacpp.model.shape import read_shape
from compiler.ir.demand import Demand, Endpoint, Refusal, Request, Site
from compiler.ir.inventory import GpuKind
from compiler.ir.spec import ArgValue
from compiler.ir.units import GIB, MIB
from tests.generators.gguf_shapes import facts

ENDPOINT = Endpoint(
    bin="/usr/local/bin/llama-server",
    model_path="/srv/models/model.gguf",
    revision=None,
    served_name="chat",
    listen="127.0.0.1",
    port=8001,
    shares_bytes=(),
)
KIND = GpuKind(
    name="rtx-3090",
    memory_bytes=24 * GIB,
    cuda_total_bytes=24135 * MIB,
    compute=(8, 6),
    multiprocessors=82,
)
SWITCHES = {
    "--kv-unified", "--no-kv-unified", "--swa-full", "--cpu-moe", "--no-kv-offload",
    "--no-op-offload", "--no-mmap", "--mlock", "--jinja", "--no-jinja",
    "--embedding", "--rerank", "--metrics",
}  # fmt: skip


def demand(version: str = "b9000", gpus: int = 1, **more: object) -> Demand:
    fields: dict[str, object] = {
        "facts": facts("qwen3-8b"), "task": "generate", "context": 8192, "concurrency": 1,
    } | more  # fmt: skip
    asked = Request(engine="llama.cpp", version=version, **fields)  # type: ignore[arg-type]
    found = ENGINE.demands(asked, Site(kinds=(KIND,) * gpus, budgets_bytes=(20 * GIB,) * gpus))
    assert not isinstance(found, Refusal), found
    return found[-1]


def parsed(argv: tuple[str, ...], version: int) -> dict[str, str]:
    """The flags of an argv, as llama-server would read them."""
    flags: dict[str, str] = {}
    position = 1
    while position < len(argv):
        flag = argv[position]
        bare = flag in SWITCHES or (flag == "--flash-attn" and version < 6325)
        flags[flag] = "on" if bare else argv[position + 1]
        position += 1 if bare else 2
    return flags


def flags_of(given: Demand) -> dict[str, str]:
    build = parse_build(given.request.version)
    assert build
    return parsed(ENGINE.launch(given, ENDPOINT).argv, build.number)


def check_costed(given: Demand) -> None:
    """Read the flags back and compare with the options that were costed, one by one."""
    build = parse_build(given.request.version)
    assert build
    options = options_of(given, read_shape(given.request.facts), build)
    flags = flags_of(given)
    assert int(flags["--ctx-size"]) == options.cells
    assert int(flags["--parallel"]) == options.slots
    if build.number >= 5925:
        assert ("--kv-unified" in flags) == options.unified
    assert int(flags["--batch-size"]) == options.batch
    assert int(flags["--ubatch-size"]) == options.ubatch
    assert int(flags["--n-gpu-layers"]) == options.gpu_layers == given.split.gpu_layers
    split = flags.get("--tensor-split", "")
    assert tuple(int(part) for part in split.split(",") if part) == options.tensor_split
    assert flags.get("--split-mode", "layer") == options.split_mode
    assert int(flags.get("--main-gpu", "0")) == options.main_gpu
    assert (flags.get("--device") == "none") == (not options.gpus)
    assert (flags.get("--flash-attn", "off") == "on") == options.flash_attention
    assert flags["--cache-type-k"] == options.cache_type_k
    assert flags["--cache-type-v"] == options.cache_type_v
    assert ("--swa-full" in flags) == options.sliding_full
    assert ("--no-kv-offload" in flags) == (not options.kv_on_gpu)
    assert ("--no-op-offload" in flags) == (not options.op_offload)
    assert ("--cpu-moe" in flags) == options.moves.cpu_moe
    assert int(flags.get("--n-cpu-moe", "0")) == options.moves.cpu_moe_layers
    mapped = "mmap" in flags.get("--load-mode", "") or (
        "--load-mode" not in flags and "--no-mmap" not in flags
    )
    assert mapped == options.memory_map
    assert int(flags.get("--cache-ram", "0")) * MIB == options.prompt_cache_bytes
    assert int(flags.get("--ctx-checkpoints", "0")) == options.checkpoints
    assert (("--embedding" in flags) or ("--rerank" in flags)) == options.embeds


ARGS: dict[str, list[ArgValue]] = {
    "ubatch_size": [64, 512, 4096],
    "batch_size": [256, 2048],
    "flash_attn": ["on", "off", "auto", True],
    "cache_type_k": ["f16", "q8_0"],
    "swa_full": [True, False],
    "kv_offload": [True, False],
    "no_op_offload": [True],
    "cpu_moe": [True, False],
    "n_cpu_moe": [0, 3, 999],
    "split_mode": ["layer", "none"],
    "main_gpu": [0],
    "cache_ram": [0, 2048],
    "ctx_checkpoints": [0, 8],
    "metrics": [True],
}


@settings(max_examples=60)
@given(
    args=st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in ARGS.items()}),
    model=st.sampled_from(["qwen3-8b", "qwen3-30b-a3b", "gemma3-4b", "qwen35-4b", "smollm2-135m"]),
    version=st.sampled_from(["b9000", "b10500", "b11390", "0.5.0-dev", "b20000"]),
    gpus=st.integers(1, 3),
    offload=st.sampled_from(["none", 0, 7]),
    concurrency=st.integers(1, 5),
    kv_tokens=st.sampled_from([None, 9000]),
)
def test_the_flags_emitted_are_the_flags_costed(  # noqa: PLR0913, PLR0917 - one a dimension
    args: dict[str, ArgValue],
    model: str,
    version: str,
    gpus: int,
    offload: str | int,
    concurrency: int,
    kv_tokens: int | None,
) -> None:
    check_costed(
        demand(
            version,
            gpus,
            facts=facts(model),
            args=args,
            offload=offload,
            concurrency=concurrency,
            kv_tokens=kv_tokens,
        )
    )


@pytest.mark.parametrize("version", ["b4000", "b4600", "b5500", "b6000", "b6500", "b7000", "b9000"])
def test_every_build_gets_flags_it_knows(version: str) -> None:
    given = demand(version, concurrency=2)
    check_costed(given)
    flags, number = flags_of(given), int(version[1:])
    assert ("--fit" in flags) == (number >= 7430)
    assert ("--cache-ram" in flags) == (number >= 6720)
    assert ("--ctx-checkpoints" in flags) == (number >= 6670)
    assert ("--jinja" in flags) == (number >= 4530)
    assert "--load-mode" not in flags


def test_a_newer_build_takes_a_load_mode() -> None:
    flags = flags_of(demand("0.5.0-dev"))
    assert flags["--load-mode"] == "none"
    assert "--no-mmap" not in flags


def test_flash_attention_has_a_value_since_2025_08() -> None:
    old, new = (ENGINE.launch(demand(v), ENDPOINT).argv for v in ("b6000", "b6500"))
    assert old[old.index("--flash-attn") + 1].startswith("--")
    assert new[new.index("--flash-attn") + 1] == "on"


def test_the_whole_command_line_of_a_chat() -> None:
    launch = ENGINE.launch(demand(gpus=2, concurrency=2), ENDPOINT)
    assert launch.health_path == "/health"
    assert launch.argv == (
        "/usr/local/bin/llama-server", "--model", "/srv/models/model.gguf", "--alias", "chat",
        "--host", "127.0.0.1", "--port", "8001", "--ctx-size", "16384", "--parallel", "2",
        "--no-kv-unified", "--batch-size", "2048", "--ubatch-size", "512", "--flash-attn", "on",
        "--cache-type-k", "f16", "--cache-type-v", "f16", "--n-gpu-layers", "37",
        "--split-mode", "layer", "--main-gpu", "0", "--tensor-split", "20,17", "--fit", "off",
        "--no-mmap", "--cache-ram", "0", "--ctx-checkpoints", "0", "--jinja",
    )  # fmt: skip


def test_the_health_check_follows_the_prefix_of_all_routes() -> None:
    launch = ENGINE.launch(demand(args={"api_prefix": "/v2"}), ENDPOINT)
    assert launch.health_path == "/v2/health"
    assert launch.argv[launch.argv.index("--api-prefix") + 1] == "/v2"


def test_an_embedder_takes_its_longest_input_in_one_ubatch() -> None:
    given = demand(facts=facts("bge-m3"), task="embed", context=8000, concurrency=2)
    check_costed(given)
    flags = flags_of(given)
    assert flags["--ubatch-size"] == flags["--batch-size"] == "8000"
    assert flags["--pooling"] == "cls"
    assert "--embedding" in flags
    assert "--jinja" not in flags


def test_a_reranker_is_told_to_rerank() -> None:
    given = demand(facts=facts("bge-reranker-v2-m3"), task="rerank", context=1024)
    check_costed(given)
    assert flags_of(given)["--rerank"] == "on"


def test_nothing_on_the_gpu_means_no_device() -> None:
    given = demand(offload=0)
    check_costed(given)
    assert flags_of(given)["--device"] == "none"


def test_arguments_that_do_not_touch_memory_pass_through() -> None:
    args: dict[str, ArgValue] = {"threads": 8, "temp": 0.6, "metrics": True, "webui": False}
    argv = ENGINE.launch(demand(args=args), ENDPOINT).argv
    assert argv[-6:] == ("--metrics", "--temp", "0.6", "--threads", "8", "--no-webui")


def test_a_switch_that_is_off_anyway_is_left_out() -> None:
    args: dict[str, ArgValue] = {"metrics": False, "jinja": False}
    argv = ENGINE.launch(demand(args=args), ENDPOINT).argv
    assert argv[-1] == "--no-jinja"
    assert "--metrics" not in argv


def test_an_override_stands_on_the_command_line() -> None:
    args: dict[str, ArgValue] = {"override_tensor": [r"ffn_.*_exps=CPU", r"blk\.1\.=CUDA0"]}
    given = demand(args=args, facts=facts("qwen3-30b-a3b"))
    assert flags_of(given)["--override-tensor"] == r"ffn_.*_exps=CPU,blk\.1\.=CUDA0"
