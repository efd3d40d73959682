"""GPUs whose memory is their host's RAM: loaded, counted, found and told as one pool."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path

import pytest

from compiler.cli import run
from compiler.diagnostics import CompileError
from compiler.discover.kinds import kind_of
from compiler.discover.machine import FoundGpu
from compiler.discover.report import read_report
from compiler.enlist import EMPTY_INVENTORY, enlist
from compiler.inputs import Inputs, load
from compiler.ir.catalog import builtin_kinds
from compiler.ir.inventory import Host
from compiler.ir.plan import Plan
from compiler.ir.textfile import TextFile
from compiler.ir.units import GIB, MIB
from compiler.load.inventory import load_inventory
from compiler.load.yamltext import parse_yaml
from compiler.pipeline import compile_plan
from compiler.single import Question, estimate_single
from compiler.verify import verify
from compiler.workspace import read_text

GOLDEN = Path(__file__).parent / "golden" / "one-memory-is-budgeted-once"


def host(entry: str, *, defaults: str = "{}", kinds: str = "{}") -> Host:
    """The host `spark` of an inventory without faults."""
    text = f"version: 1\ndefaults: {defaults}\nhosts:\n  spark: {entry}\ngpu_kinds: {kinds}\n"
    inventory, faults = load_inventory(parse_yaml("inventory.yaml", text))
    assert faults == []
    assert inventory is not None
    return inventory.hosts[0]


def faults(entry: str, *, kinds: str = "{}") -> list[str]:
    """What is said against an inventory with this host."""
    text = f"version: 1\nhosts:\n  spark: {entry}\ngpu_kinds: {kinds}\n"
    return [each.detail for each in load_inventory(parse_yaml("inventory.yaml", text))[1]]


def test_the_pool_is_less_than_the_box() -> None:
    spark = host("{gpus: [{kind: gb10}]}")
    assert spark.ram_bytes == 124546 * MIB
    assert spark.ram_budget_bytes == spark.gpus[0].budget_bytes == 124546 * MIB * 820 // 1000


def test_both_reserves_are_kept_of_the_one_memory() -> None:
    spark = host("{ram_reserved: 30GiB, gpus: [{kind: gb10, reserved: 2GiB}]}")
    assert spark.gpus[0].budget_bytes == 124546 * MIB - 32 * GIB


def test_what_the_system_sees_bounds_the_kind() -> None:
    assert host("{ram: 119GiB, gpus: [{kind: gb10}]}").gpus[0].kind.memory_bytes == 119 * GIB
    assert host("{ram: 128GiB, gpus: [{kind: gb10}]}").gpus[0].kind.memory_bytes == 124546 * MIB


def test_defaults_of_other_hosts_neither_halve_nor_overfill_it() -> None:
    defaults = "{ram: 32GiB, gpu: {utilization: 0.95}}"
    assert host("{gpus: [{kind: gb10}]}", defaults=defaults).ram_bytes == 124546 * MIB
    assert host("{gpus: [{kind: gb10}]}", defaults=defaults).gpus[0].utilization_permille == 820
    own = host("{gpus: [{kind: gb10, utilization: 0.87}]}", defaults=defaults)
    assert own.gpus[0].utilization_permille == 870
    less = host("{gpus: [{kind: gb10}]}", defaults="{gpu: {utilization: 0.7}}")
    assert less.gpus[0].utilization_permille == 700


def test_a_small_box_keeps_an_eighth() -> None:
    nano = host("{gpus: [{kind: jetson-orin-nano-8gb}]}")
    assert nano.ram_reserved_bytes == 7620 * MIB // 8
    assert nano.gpus[0].budget_bytes == 7620 * MIB * 7 // 8 - 512 * MIB


def test_a_kind_of_ones_own() -> None:
    kinds = '{box: {memory: 96GiB, compute: "12.1", unified: true}}'
    box = host("{gpus: [{kind: box}]}", kinds=kinds)
    assert box.pool == box.gpus[0]
    assert box.gpus[0].kind.cuda_total_bytes == 96 * GIB


def test_new_values_of_a_built_in_kind_leave_it_unified() -> None:
    kinds = '{gb10: {memory: 121GiB, compute: "12.1"}}'
    assert host("{gpus: [{kind: gb10}]}", kinds=kinds).pool is not None
    apart = '{gb10: {memory: 121GiB, compute: "12.1", unified: false}}'
    assert host("{ram: 64GiB, gpus: [{kind: gb10}]}", kinds=apart).pool is None


def test_memory_beside_the_ram_is_no_pool() -> None:
    assert not builtin_kinds()["gh200-96gb"].unified
    assert not builtin_kinds()["gb200"].unified


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{gpus: {kind: gb10, count: 2}}", "the only one of its host"),
        ("{ram: 9GiB, gpus: [{kind: gb10}, {kind: rtx-4090}]}", "the only one of its host"),
        ("{ram_reserved: 8GiB, gpus: [{kind: jetson-orin-nano-8gb}]}", "one memory with the RAM"),
    ],
)
def test_what_cannot_be(entry: str, said: str) -> None:
    assert [said in each for each in faults(entry)] == [True]


def test_a_slice_has_memory_of_its_own() -> None:
    kinds = '{odd: {memory: 9GiB, compute: "9.0", mig: true, unified: true}}'
    assert "a slice has memory of its own" in faults("{ram: 9GiB}", kinds=kinds)[0]


def compiled() -> tuple[Inputs, Plan]:
    texts = [read_text(GOLDEN / name) for name in ("inventory.yaml", "models.yaml", "modelc.lock")]
    inputs = Inputs(inventory=texts[0], spec=texts[1], lock=texts[2], previous=None)
    return inputs, compile_plan(inputs).plan


def test_the_recount_adds_gpu_and_ram() -> None:
    """Shares that fit the GPU and the RAM each by itself, and not both together, are found."""
    inputs, plan = compiled()
    loaded = load(inputs)
    assert verify(loaded.inventory, loaded.spec, plan, None) == []
    document = plan.model_dump()
    chat = next(each for each in document["replicas"] if each["service"] == "chat")
    embed = next(each for each in document["replicas"] if each["service"] == "embed")
    embed["ram_bytes"] += GIB
    assert chat["shares"][0]["share_bytes"] < plan.gpus[0].budget_bytes
    assert embed["ram_bytes"] + chat["ram_bytes"] < plan.hosts[0].ram_budget_bytes
    said = verify(loaded.inventory, loaded.spec, Plan.model_validate(document), None)
    assert any("bytes of one memory with a budget" in each for each in said)
    assert any("ledger" in each for each in said)


def test_one_kind_alone_counts_both() -> None:
    """An estimate that fits GPU and RAM apart does not fit them as one."""
    locked = load(compiled()[0]).lock.find("Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0")
    assert locked is not None
    question = Question(
        locked=locked, companions={}, engine="llama.cpp", version="11390",
        kinds=("jetson-orin-nano-8gb",), context=2048, concurrency=2, kv_tokens=None,
        task="embed", offload="none", utilization_permille=None, args={},
    )  # fmt: skip
    demand, _ = estimate_single(question)
    assert demand.taken_bytes == (demand.devices[0].high_bytes + demand.host.high_bytes,)
    assert demand.ram_high_bytes == 0


def test_hosts_that_might_be_added_have_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(GOLDEN, tmp_path / "spark")
    assert run(["whatif", "--add", "2xgb10", "-C", str(folder)]) == 1
    assert "the only GPU of its host" in capsys.readouterr().err
    assert run(["size", "--kind", "gb10", "-C", str(folder), "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["sizes"]
    assert (found["per_host"], found["hosts"]) == (1, found["gpus"])


def gpu(name: str, mib: int, compute: tuple[int, int] | None) -> FoundGpu:
    return FoundGpu(
        name=name, uuid="", memory_bytes=mib * MIB, unified=True, compute=compute, mig=False,
        island=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "mib", "compute", "kind"),
    [
        ("NVIDIA GB10", 124546, (12, 1), "gb10"),
        ("NVIDIA GB10", 122501, (12, 1), "gb10"),
        ("NVIDIA GB10", 124546, None, "gb10"),
        ("Orin (nvgpu)", 62841, (8, 7), "jetson-agx-orin-64gb"),
        ("Orin (nvgpu)", 30536, (8, 7), "jetson-agx-orin-32gb"),
        ("Orin (nvgpu)", 15656, (8, 7), "jetson-orin-nx-16gb"),
        ("NVIDIA Thor", 125772, (11, 0), "jetson-agx-thor"),
        ("NVIDIA Thor", 96000, (11, 0), None),
        ("NVIDIA GH200 480GB", 580000, (9, 0), None),
    ],
)
def test_names_and_ram_give_the_kind(
    name: str, mib: int, compute: tuple[int, int] | None, kind: str | None
) -> None:
    assert kind_of(gpu(name, mib, compute), builtin_kinds()) == kind


REPORT = """<?xml version="1.0" ?>
<nvidia_smi_log>
  <gpu id="0000000F:01:00.0">
    <product_name>{name}</product_name>
    <product_architecture>Blackwell</product_architecture>
    <mig_mode><current_mig>N/A</current_mig></mig_mode>
    <uuid>GPU-aaaa0001-0000-0000-0000-000000000000</uuid>
    <minor_number>0</minor_number>
    <fb_memory_usage><total>{memory}</total></fb_memory_usage>
  </gpu>
</nvidia_smi_log>
"""


@pytest.mark.parametrize("memory", ["N/A", "Not Supported"])
def test_a_report_without_a_memory_figure(memory: str) -> None:
    text = REPORT.format(name="NVIDIA GB10", memory=memory)
    found, _ = read_report(text, "spark", 124546 * MIB, builtin_kinds())
    file = TextFile(path="inventory.yaml", text=EMPTY_INVENTORY)
    assert enlist(file, found, None).entry == textwrap.dedent("""\
        hosts:
          spark:
            ram: 124546MiB
            gpus:
              - {kind: gb10, uuid: GPU-aaaa0001-0000-0000-0000-000000000000, minor: 0}
        """)
    with pytest.raises(CompileError) as error:
        read_report(text, "spark", None, builtin_kinds())
    assert "nothing says how much that is" in error.value.diagnostics[0].detail
