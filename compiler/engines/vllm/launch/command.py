"""The command line of a vLLM replica: every flag that changes memory is written out."""

from __future__ import annotations

import json

from compiler.engines.vllm.flags.check import normalize_arguments
from compiler.engines.vllm.flags.table import FlagTable, flag_table
from compiler.engines.vllm.flags.values import as_mapping
from compiler.engines.vllm.launch.decide import header_overrides
from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.versions import Version
from compiler.ir.demand import Demand, Endpoint, Launch, Request
from compiler.ir.facts import HeaderValue
from compiler.ir.spec import ArgValue
from compiler.ir.units import GIB

# Arguments of the user that stand on the command line in a form of modelc's own.
_WRITTEN_ABOVE = frozenset({"max_num_batched_tokens", "dtype", "hf_overrides", "kv_cache_dtype"})


def launch_of(demand: Demand, endpoint: Endpoint, options: Options, utilization: str) -> Launch:
    """The command line and environment of a demand with its share, `utilization` of each GPU."""
    table = flag_table()
    argv = [endpoint.bin, "serve", endpoint.model_path]
    if endpoint.revision is not None:
        argv += ["--revision", endpoint.revision]
    argv += ["--served-model-name", endpoint.served_name]
    argv += ["--host", endpoint.listen, "--port", str(endpoint.port)]
    argv += _task_flags(demand.request, options, table)
    argv += _size_flags(options)
    if demand.site.kinds:
        argv += _memory_flags(demand, utilization, options, table)
    args = _with_places(demand.request.args, endpoint)
    argv += _user_flags(args, options.version, table)
    return Launch(argv=tuple(argv), env=_environment(demand))


def _task_flags(request: Request, options: Options, table: FlagTable) -> list[str]:
    flags: list[str] = []
    if options.pooling and table.emits("runner", options.version):
        flags += ["--runner", "pooling"]
        if request.task in {"embed", "classify"} and _is_language_model(request):
            flags += ["--convert", request.task]
    elif options.pooling and table.emits("task", options.version):
        old = {"embed": "embed", "classify": "classify", "rerank": "score"}
        flags += ["--task", old.get(request.task, "embed")]
    overrides = header_overrides(request)
    if overrides:
        flags += ["--hf-overrides", _json(overrides)]
    return flags


def _is_language_model(request: Request) -> bool:
    return request.facts.architecture.endswith(("ForCausalLM", "ForConditionalGeneration"))


def _size_flags(options: Options) -> list[str]:
    flags = ["--max-model-len", str(options.context), "--max-num-seqs", str(options.sequences)]
    flags += ["--max-num-batched-tokens", str(options.batched_tokens)]
    flags += ["--tensor-parallel-size", str(options.tensor_parallel)]
    if options.dtype != "auto":
        flags += ["--dtype", options.dtype]
    if options.kv_dtype != "auto":
        # The packed layout of sparse MLA is asked for as fp8.
        shown = "fp8" if options.kv_dtype == "fp8_ds_mla" else options.kv_dtype
        flags += ["--kv-cache-dtype", shown]
    return flags


def _memory_flags(
    demand: Demand, utilization: str, options: Options, table: FlagTable
) -> list[str]:
    flags = ["--gpu-memory-utilization", utilization]
    if demand.utilization_permille is not None:
        # Asked for, so that vLLM is to size its KV cache by it alone.
        return flags
    # One size for all GPUs: the one with the largest blocks decides how many there are.
    kv_bytes = max(device.kv.bytes for device in demand.devices)
    if kv_bytes and table.emits("kv-cache-memory-bytes", options.version):
        flags += ["--kv-cache-memory-bytes", str(kv_bytes)]
    return flags


def _with_places(args: dict[str, ArgValue], endpoint: Endpoint) -> dict[str, ArgValue]:
    """The arguments with the places of the models that they name."""
    placed = dict(args)
    for argument, places in endpoint.companions.items():
        config = dict(as_mapping(args.get(argument, {})))
        if config and places:
            config["model"] = places[0].path
            if places[0].revision is not None:
                config["revision"] = places[0].revision
            placed[argument] = config
    return placed


def _user_flags(args: dict[str, ArgValue], version: Version, table: FlagTable) -> list[str]:
    flags: list[str] = []
    for name, value in normalize_arguments(args, version).items():
        if name in _WRITTEN_ABOVE:
            continue
        flags += _flag(name.replace("_", "-"), value, version, table)
    return flags


def _flag(name: str, value: ArgValue, version: Version, table: FlagTable) -> list[str]:
    if value is True:
        return [f"--{name}"]
    if value is False:
        negative = table.negative(name, version)
        # A flag without a negative is off when it is left out.
        return [f"--{negative}"] if negative else []
    if isinstance(value, dict):
        return [f"--{name}", _json(value)]
    if isinstance(value, list):
        flat = [item if isinstance(item, str) else _json(item) for item in value]
        return [f"--{name}", *flat]
    return [f"--{name}", str(value)]


def _environment(demand: Demand) -> dict[str, str]:
    env = {"VLLM_NO_USAGE_STATS": "1"}
    if not demand.site.kinds:
        env["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, demand.host.kv.bytes // GIB))
    return env


def _json(value: HeaderValue | ArgValue) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
