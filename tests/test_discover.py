"""`modelc discover`: what a driver says becomes an entry, and the rest of the file stays."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler.discover.edit import put_items, put_key
from compiler.discover.kinds import kind_of, new_kind
from compiler.discover.machine import FoundGpu
from compiler.ir.catalog import builtin_kinds
from compiler.ir.units import MIB
from compiler.load.inventory import load_inventory
from compiler.load.yamltext import parse_yaml
from tests.requires import require_tool

ROOT = Path(__file__).parents[1]

TOWER = """
NVIDIA GeForce RTX 3090|24576|8|6|GPU-bbbb0002|97|1|2
NVIDIA GeForce RTX 3090|24576|8|6|GPU-aaaa0001|24|0|2
"""
# Eight cards, four and four behind a switch; the driver lists them backwards.
HGX = "\n".join(
    f"NVIDIA A100-SXM4-80GB|81920|8|0|GPU-0000000{index}|{index + 1}|{index // 4}|0"
    for index in reversed(range(8))
)
SLICED = """
NVIDIA A100-SXM4-80GB|81920|8|0|GPU-faced000|1|0|1
NVIDIA A100-SXM4-80GB|81920|8|0|GPU-fade0000|2|1|0
NVIDIA A100-SXM4-80GB|81920|8|0|GPU-decade00|3|2|1
"""
SLICES = """
0|NVIDIA A100-SXM4-80GB MIG 3g.40gb|40192|MIG-11111111
0|NVIDIA A100-SXM4-80GB MIG 1g.10gb|9728|MIG-22222222
"""

# Uuids are written short in these tests, and are whole wherever modelc sees them.
REST = "-0000-4000-8000-000000000000"

Discover = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libnvidia-ml.so.1 that says what its environment tells it."""
    folder = tmp_path_factory.mktemp("driver")
    source = ROOT / "tests" / "native" / "fake_nvml.c"
    subprocess.run(
        [require_tool("gcc"), "-shared", "-fPIC", "-Wall", "-Werror",
         "-o", folder / "libnvidia-ml.so.1", source],
        check=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def discover(driver: Path, tmp_path: Path) -> Discover:
    """Runs `modelc discover` in the test's folder, on a machine with these GPUs."""

    def discovering(
        gpus: str, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        named = {name: whole(text) for name, text in environment.items()}
        driver_says = {"LD_LIBRARY_PATH": str(driver), "FAKE_GPUS": whole(gpus)}
        return run(tmp_path, *arguments, **driver_says, **named)

    return discovering


def whole(text: str) -> str:
    """The text with the rest of every uuid."""
    return re.sub(r"\b(GPU|MIG)-([0-9a-f]{8})\b(?!-)", rf"\g<0>{REST}", text)


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`modelc discover` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "compiler", "discover", *arguments], cwd=folder, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, capture_output=True,
        check=False, timeout=60,
    )  # fmt: skip


def check(
    discover: Discover, folder: Path, gpus: str, before: str, after: str, **environment: str
) -> str:
    """Discovers a host named tower twice; the whole file is compared. Gives what was said."""
    path = folder / "inventory.yaml"
    path.write_bytes(whole(textwrap.dedent(before)).encode())
    first = discover(gpus, "--host", "tower", **environment)
    assert first.returncode == 0, first.stderr
    assert first.stdout == ""
    assert without_ram(path.read_bytes().decode()) == textwrap.dedent(after)
    assert load_inventory(parse_yaml("inventory.yaml", path.read_text("utf-8")))[1] == []
    second = discover(gpus, "--host", "tower", **environment)
    assert (second.returncode, second.stdout) == (0, "")
    assert "inventory.yaml is up to date.\n" in second.stderr
    assert without_ram(path.read_bytes().decode()) == textwrap.dedent(after)
    return first.stderr


def without_ram(text: str) -> str:
    """The text with short uuids, and as `OWN` this machine's RAM, which differs from run to run."""
    return text.replace(REST, "").replace(own_ram(), "OWN")


def own_ram() -> str:
    total = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text("utf-8"))
    assert total
    return f"{int(total[1]) // 1024}MiB"


# What is found


def test_a_new_inventory(discover: Discover, tmp_path: Path) -> None:
    found = discover(TOWER)
    name = platform.node().partition(".")[0]
    assert (found.returncode, found.stdout) == (0, "")
    assert found.stderr == f"inventory.yaml: {name} has 2 GPUs.\n"
    text = without_ram((tmp_path / "inventory.yaml").read_text("utf-8"))
    assert text.replace(name, "NAME", 1) == textwrap.dedent("""\
        version: 1
        hosts:
          NAME:
            ram: OWN
            gpus:
              - {kind: rtx-3090, uuid: GPU-aaaa0001}
              - {kind: rtx-3090, uuid: GPU-bbbb0002}
        """)


def test_print_writes_nothing(discover: Discover, tmp_path: Path) -> None:
    found = discover(HGX, "--print", "--host", "gpu-1")
    assert (found.returncode, found.stderr) == (0, "")
    lines = "".join(
        f"      - {{kind: a100-sxm-80gb, uuid: GPU-0000000{index}, island: {index // 4}}}\n"
        for index in range(8)
    )
    assert without_ram(found.stdout) == f"hosts:\n  gpu-1:\n    ram: OWN\n    gpus:\n{lines}"
    assert list(tmp_path.iterdir()) == []


def test_slices_are_gpus_and_whole_ones_without_slices_are_left_out(
    discover: Discover,
) -> None:
    found = discover(SLICED, "--print", "--host", "lab", FAKE_SLICES=SLICES)
    assert found.returncode == 0, found.stderr
    said = whole("GPU-decade00 is in MIG mode and has no slice; it is left out.\n")
    assert found.stderr == said
    assert without_ram(found.stdout) == textwrap.dedent("""\
        hosts:
          lab:
            ram: OWN
            gpus:
              - {kind: a100-80gb-3g.40gb, uuid: MIG-11111111, island: 0}
              - {kind: a100-80gb-1g.10gb, uuid: MIG-22222222, island: 0}
              - {kind: a100-sxm-80gb, uuid: GPU-fade0000, island: 1}
        """)


def test_an_unknown_card_is_described(discover: Discover, tmp_path: Path) -> None:
    check(
        discover,
        tmp_path,
        "NVIDIA TITAN Z9|24564|9|3|GPU-aaaa0001|1|0|2\n"
        "NVIDIA TITAN Z9|24564|9|3|GPU-bbbb0003|2|0|2",
        """\
        version: 1
        hosts:
          other: {ram: 1GiB}
        # The end.
        """,
        """\
        version: 1
        hosts:
          other: {ram: 1GiB}
          tower:
            ram: OWN
            gpus:
              - {kind: titan-z9, uuid: GPU-aaaa0001}
              - {kind: titan-z9, uuid: GPU-bbbb0003}
        gpu_kinds:
          titan-z9: {memory: 24564MiB, compute: "9.3", link: nvlink}
        # The end.
        """,
    )


def test_a_host_without_gpus(discover: Discover, tmp_path: Path) -> None:
    check(
        discover, tmp_path, "", "version: 1\nhosts:\n",
        "version: 1\nhosts:\n  tower:\n    ram: OWN\n    gpus: []\n",
    )  # fmt: skip


# What stays


def test_comments_order_and_settings_stay(discover: Discover, tmp_path: Path) -> None:
    said = check(
        discover,
        tmp_path,
        TOWER + "NVIDIA L4|23034|8|9|GPU-cccc0003|50|2|2",
        """\
        # Ours.

        version:   1
        defaults: {gpu: {reserved: 512MiB,  utilization: 0.95}}   # tight
        hosts:
          # Bought in May.
          tower:   # under the desk
            target: script
            # Slots from the top.
            gpus:
              # the desktop
              - {uuid: GPU-aaaa0001,   kind: rtx-3080, reserved: 1536MiB}    # monitor
              # gone since June
              - {kind: rtx-3090, uuid: GPU-dddd0004}   # broken
              - kind: rtx-3090     # from the old box
                uuid: GPU-bbbb0002
                utilization: 0.90
              # No room for more.

            labels: {zone: "a"}
          # The others.
          edge-1: { ram: 16GiB, gpus: [ ] }
        """,
        """\
        # Ours.

        version:   1
        defaults: {gpu: {reserved: 512MiB,  utilization: 0.95}}   # tight
        hosts:
          # Bought in May.
          tower:   # under the desk
            target: script
            # Slots from the top.
            gpus:
              # the desktop
              - {uuid: GPU-aaaa0001,   kind: rtx-3090, reserved: 1536MiB}    # monitor
              - {kind: l4, uuid: GPU-cccc0003}
              - kind: rtx-3090     # from the old box
                uuid: GPU-bbbb0002
                utilization: 0.90
              # No room for more.

            labels: {zone: "a"}
            ram: OWN
          # The others.
          edge-1: { ram: 16GiB, gpus: [ ] }
        """,
    )
    assert said == (
        whole("GPU-dddd0004 is not in this host; its entry is gone.\n")
        + "inventory.yaml: tower has 3 GPUs.\n"
    )


def test_entries_without_uuids_get_them(discover: Discover, tmp_path: Path) -> None:
    check(
        discover,
        tmp_path,
        TOWER,
        """\
        version: 1
        hosts:
          tower:
            ram: 1MiB   # to be measured
            gpus:
              - {kind: rtx-3090, reserved: 1536MiB}   # the desktop
              - kind: rtx-3090   # spare
                island: 1
        """,
        """\
        version: 1
        hosts:
          tower:
            ram: OWN   # to be measured
            gpus:
              - {kind: rtx-3090, uuid: GPU-aaaa0001, reserved: 1536MiB}   # the desktop
              - kind: rtx-3090   # spare
                uuid: GPU-bbbb0002
                island: 1
        """,
    )


def test_minors_are_written_where_the_driver_says_them(discover: Discover, tmp_path: Path) -> None:
    """Not by the order of the bus: the driver has numbered these the other way round."""
    check(
        discover,
        tmp_path,
        TOWER,
        """\
        version: 1
        hosts:
          tower:
            ram: 1MiB
            gpus:
              - {kind: rtx-3090, uuid: GPU-aaaa0001, minor: 0}   # as it was
        """,
        """\
        version: 1
        hosts:
          tower:
            ram: OWN
            gpus:
              - {kind: rtx-3090, uuid: GPU-aaaa0001, minor: 1}   # as it was
              - {kind: rtx-3090, uuid: GPU-bbbb0002, minor: 0}
        """,
        FAKE_MINORS="1",
    )


def test_a_minor_that_the_driver_does_not_say_stays(discover: Discover, tmp_path: Path) -> None:
    text = """\
        version: 1
        hosts:
          tower:
            ram: OWN
            gpus:
              - {kind: rtx-3090, uuid: GPU-aaaa0001, minor: 7}
              - {kind: rtx-3090, uuid: GPU-bbbb0002}
        """
    check(discover, tmp_path, TOWER, text.replace("OWN", own_ram()), text)


def test_a_slice_has_no_minor(discover: Discover) -> None:
    found = discover(SLICED, "--print", "--host", "lab", FAKE_SLICES=SLICES, FAKE_MINORS="1")
    assert found.returncode == 0, found.stderr
    assert whole("uuid: MIG-11111111, island: 0}") in found.stdout
    assert whole("uuid: GPU-fade0000, minor: 1, island: 1}") in found.stdout


def test_a_block_of_equal_gpus_that_is_true_stays(discover: Discover, tmp_path: Path) -> None:
    block = "{kind: a100-sxm-80gb, count: 8, islands: [[0, 1, 2, 3], [4, 5, 6, 7]]}"
    check(
        discover, tmp_path, HGX,
        f"version: 1\nhosts:\n  tower:\n    gpus: {block}  # HGX\n    ram: 1MiB\n",
        f"version: 1\nhosts:\n  tower:\n    gpus: {block}  # HGX\n    ram: OWN\n",
    )  # fmt: skip


def test_a_block_that_is_not_true_becomes_a_list(discover: Discover, tmp_path: Path) -> None:
    check(
        discover,
        tmp_path,
        TOWER,
        """\
        version: 1
        hosts:
          tower:
            gpus: {kind: rtx-3090, count: 4, reserved: 1GiB}   # two were sold
            ram: 1MiB
        """,
        """\
        version: 1
        hosts:
          tower:
            gpus:   # two were sold
              - {kind: rtx-3090, uuid: GPU-aaaa0001, reserved: 1GiB}
              - {kind: rtx-3090, uuid: GPU-bbbb0002, reserved: 1GiB}
            ram: OWN
        """,
    )


def test_an_entry_in_braces_stays_in_braces(discover: Discover, tmp_path: Path) -> None:
    check(
        discover,
        tmp_path,
        TOWER,
        "version: 1\nhosts: {tower: {gpus: []}, edge: {ram: 1GiB}}  # all of them\n",
        "version: 1\nhosts: {tower: {gpus: [{kind: rtx-3090, uuid: GPU-aaaa0001}, "
        "{kind: rtx-3090, uuid: GPU-bbbb0002}], ram: OWN}, edge: {ram: 1GiB}}  # all of them\n",
    )


def test_line_ends_of_windows_stay(discover: Discover, tmp_path: Path) -> None:
    check(
        discover, tmp_path, "", "version: 1\r\nhosts:\r\n  tower: {ram: 1MiB}\r\n",
        "version: 1\r\nhosts:\r\n  tower: {ram: OWN, gpus: []}\r\n",
    )  # fmt: skip


def test_a_kind_of_the_users_own_stays(discover: Discover, tmp_path: Path) -> None:
    text = """\
        version: 1
        hosts:
          tower:
            ram: OWN
            gpus:
              - {kind: lab-card, uuid: GPU-aaaa0001}
              - {kind: lab-card, uuid: GPU-bbbb0002}
        gpu_kinds:
          lab-card: {memory: 24564MiB, compute: "8.6", cuda_total: 24080MiB}
        """
    check(discover, tmp_path, TOWER, text.replace("OWN", own_ram()), text)


def test_ram_that_is_near_enough_stays(discover: Discover, tmp_path: Path) -> None:
    said = f"{int(own_ram().removesuffix('MiB')) * 102 // 100}MiB"
    text = f"version: 1\nhosts:\n  tower:\n    ram: {said}\n    gpus: []\n"
    check(discover, tmp_path, "", text, text)


# Ranges


RANGED = """\
version: 1
hosts:
  tower-[1-3]:
    ram: 1GiB
    gpus: {kind: rtx-3090, count: 2, reserved: 1GiB}
  tower: {ram: 1GiB, gpus: []}
"""


def ranged(discover: Discover, folder: Path, text: str, host: str) -> str:
    """The inventory after a host of the range was discovered, twice."""
    path = folder / "inventory.yaml"
    path.write_text(text, "utf-8")
    for _ in range(2):
        found = discover(TOWER, "--host", host)
        assert found.returncode == 0, found.stderr
    assert "inventory.yaml is up to date.\n" in found.stderr
    _, faults = load_inventory(parse_yaml("inventory.yaml", path.read_text("utf-8")))
    assert faults == []
    return without_ram(path.read_text("utf-8"))


def test_a_host_of_a_range_says_what_differs(discover: Discover, tmp_path: Path) -> None:
    assert ranged(discover, tmp_path, RANGED, "tower-2") == RANGED + "  tower-2: {ram: OWN}\n"


def test_a_host_that_is_as_its_range_needs_no_entry(discover: Discover, tmp_path: Path) -> None:
    text = RANGED.replace("1GiB", own_ram(), 1)
    assert ranged(discover, tmp_path, text, "tower-1") == without_ram(text)


def test_other_gpus_than_those_of_the_range(discover: Discover, tmp_path: Path) -> None:
    text = RANGED.replace("rtx-3090", "l4")
    after = ranged(discover, tmp_path, text, "tower-3")
    assert after.startswith(text)
    assert "  tower-3:\n    ram: OWN\n    gpus:\n      - {kind: rtx-3090, uuid: " in after
    document = parse_yaml("inventory.yaml", (tmp_path / "inventory.yaml").read_text("utf-8"))
    inventory, _ = load_inventory(document)
    assert inventory
    kinds = {host.name: [gpu.kind.name for gpu in host.gpus] for host in inventory.hosts}
    assert (kinds["tower-2"], kinds["tower-3"]) == (["l4"] * 2, ["rtx-3090"] * 2)


# Displays


def test_a_gpu_with_a_display_keeps_memory_for_it(discover: Discover, tmp_path: Path) -> None:
    said = check(discover, tmp_path, TOWER, "version: 1\nhosts:\n", """\
        version: 1
        hosts:
          tower:
            ram: OWN
            gpus:
              - {kind: rtx-3090, uuid: GPU-aaaa0001, reserved: 1536MiB}
              - {kind: rtx-3090, uuid: GPU-bbbb0002}
        """, FAKE_DISPLAY="24")  # fmt: skip
    assert "GPU 0 drives a display: `reserved: 1536MiB` is for that" in said


# What is refused


def refused(discover: Discover, folder: Path, text: str, *arguments: str) -> str:
    """What is said when nothing is written."""
    path = folder / "inventory.yaml"
    path.write_text(text, "utf-8")
    found = discover(TOWER, *arguments)
    assert (found.returncode, found.stdout) == (1, "")
    assert path.read_text("utf-8") == text
    return found.stderr


def test_faults_of_the_inventory_come_first(discover: Discover, tmp_path: Path) -> None:
    text = "version: 1\nhosts:\n  a: {ram: 1GiB, gpus: [{kind: rtx-309}]}\n"
    said = refused(discover, tmp_path, text)
    assert said.startswith("error[unknown-gpu-kind]")
    assert "--> inventory.yaml:3:" in said


def test_a_gpu_of_another_host_is_a_fault(discover: Discover, tmp_path: Path) -> None:
    text = "version: 1\nhosts:\n  a: {ram: 1GiB, gpus: [{kind: rtx-3090, uuid: GPU-bbbb0002}]}\n"
    said = refused(discover, tmp_path, whole(text), "--host", "tower")
    assert said.startswith("error[name-collision]")


def test_a_name_that_no_host_can_have(discover: Discover, tmp_path: Path) -> None:
    said = refused(discover, tmp_path, "version: 1\nhosts:\n", "--host", "my_box")
    assert said.startswith("error[wrong-value]")
    assert "`my_box`" in said


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({"FAKE_INIT": "9"}, "nvml-missing"),
        ({"FAKE_INIT": "18"}, "nvml-failed"),
        ({"FAKE_LOST": "15"}, "nvml-failed"),
    ],
)
def test_a_driver_that_does_not_answer(
    discover: Discover, tmp_path: Path, environment: dict[str, str], code: str
) -> None:
    found = discover(TOWER, **environment)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith(f"error[{code}]")
    assert list(tmp_path.iterdir()) == []


GPU_ON_THE_BUS = "0100\\t10de2204\\t2e\\n"
NO_GPU_ON_THE_BUS = "0010\\t80861237\\t0\\n"


def without_library(folder: Path, devices: str) -> subprocess.CompletedProcess[str]:
    """What is found where nothing of the driver is installed."""
    # A library that cannot be loaded stands before the machine's own, if it has one.
    (folder / "libnvidia-ml.so.1").write_bytes(b"")
    code = (
        "from compiler.discover.machine import discover\n"
        f"found = discover('MemTotal: 1024 kB', '{devices}')\n"
        "print(found.ram_bytes, found.gpus, found.driver)"
    )
    return subprocess.run(
        [sys.executable, "-c", code], text=True, capture_output=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LD_LIBRARY_PATH": str(folder)},
    )  # fmt: skip


def test_a_device_and_no_driver(tmp_path: Path) -> None:
    found = without_library(tmp_path, GPU_ON_THE_BUS)
    assert found.returncode == 1
    assert "nvml-missing: NVML says: NVML Shared Library Not Found." in found.stderr


def test_a_host_without_a_gpu_has_its_ram(tmp_path: Path) -> None:
    found = without_library(tmp_path, NO_GPU_ON_THE_BUS)
    assert (found.stdout, found.stderr) == ("1048576 () False\n", "")


def test_a_gpu_without_memory_of_its_own_takes_the_ram(discover: Discover) -> None:
    """As GB10 and Jetson: the driver does not say a memory, and the RAM is all that there is."""
    found = discover("NVIDIA Newbox|0|12|1|GPU-cafe0001|1|0|2", "--host", "box", "--print")
    assert found.returncode == 0, found.stderr
    inventory, faults = load_inventory(parse_yaml("inventory.yaml", "version: 1\n" + found.stdout))
    assert faults == []
    assert inventory is not None
    box = inventory.hosts[0]
    total = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text("ascii"))
    assert total is not None
    assert box.pool is not None
    assert box.pool.kind.name == "newbox"
    assert box.ram_bytes // MIB == box.pool.kind.memory_bytes // MIB == int(total[1]) // 1024


REPORT = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
  <timestamp>Tue Dec  1 12:00:00 2026</timestamp>
  <attached_gpus>2</attached_gpus>
  <gpu id="00000000:41:00.0">
    <product_name>NVIDIA GeForce RTX 4090</product_name>
    <product_architecture>Ada Lovelace</product_architecture>
    <mig_mode><current_mig>N/A</current_mig></mig_mode>
    <uuid>GPU-bbbb0002-0000-0000-0000-000000000000</uuid>
    <minor_number>1</minor_number>
    <fb_memory_usage><total>49140 MiB</total><used>1 MiB</used></fb_memory_usage>
    <processes><process_info><pid>1</pid><process_name>a</process_name></process_info></processes>
  </gpu>
  <gpu id="00000000:01:00.0">
    <product_name>NVIDIA GeForce RTX 3090</product_name>
    <product_architecture>Ampere</product_architecture>
    <mig_mode><current_mig>N/A</current_mig></mig_mode>
    <uuid>GPU-aaaa0001-0000-0000-0000-000000000000</uuid>
    <minor_number>0</minor_number>
    <fb_memory_usage><total>24576 MiB</total></fb_memory_usage>
  </gpu>
</nvidia_smi_log>
"""
REPORTED = """\
version: 1
hosts:
  far:
    ram: 64GiB
    gpus:
      - {kind: rtx-3090, uuid: GPU-aaaa0001-0000-0000-0000-000000000000, minor: 0}
      - {kind: rtx-4090-48gb, uuid: GPU-bbbb0002-0000-0000-0000-000000000000, minor: 1}
"""


def reported(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "report.xml").write_text(text, encoding="utf-8")
    return run(folder, "--from", "report.xml", "--host", "far", "--ram", "64GiB")


def test_a_report_of_another_host(tmp_path: Path) -> None:
    found = reported(tmp_path, REPORT)
    assert (found.returncode, found.stdout) == (0, ""), found.stderr
    assert (tmp_path / "inventory.yaml").read_text("utf-8") == REPORTED
    again = reported(tmp_path, REPORT)
    assert again.stderr == "inventory.yaml is up to date.\n"


def test_a_report_does_not_say_the_ram(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT, encoding="utf-8")
    found = run(tmp_path, "--from", "report.xml", "--host", "far")
    assert found.returncode == 1
    assert "Nothing says how much RAM `far` has" in found.stderr
    assert "Add `--ram 64GiB`" in found.stderr
    assert not (tmp_path / "inventory.yaml").exists()
    (tmp_path / "inventory.yaml").write_text("version: 1\ndefaults: {ram: 8GiB}\nhosts:\n", "utf-8")
    assert run(tmp_path, "--from", "report.xml", "--host", "far").returncode == 0


def test_a_report_that_is_not_there(tmp_path: Path) -> None:
    found = run(tmp_path, "--from", "none.xml", "--host", "far", "--ram", "64GiB")
    assert found.returncode == 1
    assert (
        "There is no `none.xml`.\n  hint: Write the path of a file that is there." in found.stderr
    )


def test_a_report_needs_the_name_of_its_host(tmp_path: Path) -> None:
    found = run(tmp_path, "--from", "-")
    assert found.returncode == 64
    assert "--from needs --host NAME" in found.stderr


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">',
         "<!DOCTYPE x [<!ENTITY a 'aaaa'>]>", "it declares entities"),
        ("nvidia_smi_log", "smi", "another element than `nvidia_smi_log`"),
        ("</nvidia_smi_log>", "", "no element found"),
        ("<timestamp>", "<a>" * 20, "more than 16 levels"),
        ("49140 MiB", "N/A", "does not say its memory"),
        ("GPU-bbbb0002-0000-0000-0000-000000000000", "", "no product name or no UUID"),
        ("NVIDIA GeForce RTX 4090", "\u202e", "no product name or no UUID"),
    ],
)  # fmt: skip
def test_a_report_that_is_none(tmp_path: Path, old: str, new: str, words: str) -> None:
    found = reported(tmp_path, REPORT.replace(old, new))
    assert found.returncode == 1
    assert found.stderr.startswith("error[nvml-failed]"), found.stderr
    assert words in found.stderr
    assert not (tmp_path / "inventory.yaml").exists()


def test_a_report_of_a_card_that_nobody_knows(tmp_path: Path) -> None:
    found = reported(tmp_path, REPORT.replace("24576 MiB", "12000 MiB"))
    assert found.stderr.startswith("error[unknown-gpu-kind]")
    assert "nvidia-smi --query-gpu=compute_cap" in found.stderr


def test_slices_are_not_in_a_report(tmp_path: Path) -> None:
    text = REPORT.replace("<current_mig>N/A", "<current_mig>Enabled", 1)
    found = reported(tmp_path, text)
    assert "GPU-bbbb0002-0000-0000-0000-000000000000 is in MIG mode and its slices" in found.stderr
    assert "rtx-4090" not in (tmp_path / "inventory.yaml").read_text("utf-8")


# Names of cards


@pytest.mark.parametrize(
    ("name", "mib", "compute", "kind"),
    [
        ("NVIDIA GeForce RTX 3090", 24576, (8, 6), "rtx-3090"),
        ("GeForce RTX 3090", 24268, (8, 6), "rtx-3090"),
        ("NVIDIA GeForce RTX 3090 Ti", 24564, (8, 6), "rtx-3090-ti"),
        ("NVIDIA GeForce RTX 3080", 10240, (8, 6), "rtx-3080"),
        ("NVIDIA GeForce RTX 3080", 12288, (8, 6), "rtx-3080-12gb"),
        ("NVIDIA GeForce RTX 3060", 12288, (8, 6), "rtx-3060"),
        ("NVIDIA GeForce RTX 3060", 8192, (8, 6), "rtx-3060-8gb"),
        ("NVIDIA GeForce RTX 3060", 16384, (8, 6), None),
        ("NVIDIA GeForce RTX 4060 Ti", 16380, (8, 9), "rtx-4060-ti-16gb"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 16376, (8, 9), "rtx-4070-ti-super"),
        ("NVIDIA GeForce RTX 4090", 24564, (8, 9), "rtx-4090"),
        ("NVIDIA GeForce RTX 4090 D", 24564, (8, 9), "rtx-4090-d"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16376, (8, 9), "rtx-4090-laptop"),
        ("NVIDIA GeForce RTX 3080 Laptop GPU", 16384, (8, 6), "rtx-3080-laptop"),
        ("NVIDIA GeForce RTX 3070 Laptop GPU", 8192, (8, 6), "rtx-3070"),
        ("NVIDIA GeForce RTX 2080 with Max-Q Design", 8192, (7, 5), "rtx-2080"),
        ("NVIDIA GeForce RTX 5090", 32607, (12, 0), "rtx-5090"),
        ("NVIDIA GeForce GTX 1080 Ti", 11264, (6, 1), "gtx-1080-ti"),
        ("NVIDIA GeForce GTX 1060 6GB", 6144, (6, 1), "gtx-1060-6gb"),
        ("NVIDIA GeForce GTX 1060 3GB", 3072, (6, 1), "gtx-1060-3gb"),
        ("Quadro RTX 8000", 49152, (7, 5), "quadro-rtx-8000"),
        ("Quadro RTX 6000", 24576, (7, 5), "quadro-rtx-6000"),
        ("NVIDIA RTX A6000", 49140, (8, 6), "rtx-a6000"),
        ("NVIDIA RTX A2000 12GB", 12282, (8, 6), "rtx-a2000-12gb"),
        ("NVIDIA RTX 6000 Ada Generation", 49140, (8, 9), "rtx-6000-ada"),
        ("NVIDIA RTX 4000 SFF Ada Generation", 20475, (8, 9), "rtx-4000-sff-ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 97887, (12, 0), "rtx-pro-6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 97887, (12, 0), "rtx-pro-6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", 97887, (12, 0), "rtx-pro-6000"),
        ("Tesla T4", 15360, (7, 5), "t4"),
        ("Tesla V100-SXM2-16GB", 16384, (7, 0), "v100-16gb"),
        ("Tesla V100-PCIE-32GB", 32768, (7, 0), "v100-32gb"),
        ("NVIDIA A10G", 23028, (8, 6), "a10g"),
        ("NVIDIA A40-48Q", 49152, (8, 6), None),
        ("NVIDIA L4", 23034, (8, 9), "l4"),
        ("NVIDIA L40", 46068, (8, 9), "l40"),
        ("NVIDIA L40S", 46068, (8, 9), "l40s"),
        ("NVIDIA A100-PCIE-40GB", 40960, (8, 0), "a100-pcie-40gb"),
        ("NVIDIA A100-SXM4-40GB", 40960, (8, 0), "a100-sxm-40gb"),
        ("NVIDIA A100-SXM4-80GB", 81920, (8, 0), "a100-sxm-80gb"),
        ("NVIDIA A100 80GB PCIe", 81920, (8, 0), "a100-pcie-80gb"),
        ("NVIDIA H100 80GB HBM3", 81559, (9, 0), "h100-sxm"),
        ("NVIDIA H100 PCIe", 81559, (9, 0), "h100-pcie"),
        ("NVIDIA H100 NVL", 95830, (9, 0), "h100-nvl"),
        ("NVIDIA H200", 143771, (9, 0), "h200-sxm"),
        ("NVIDIA H200 NVL", 143771, (9, 0), "h200-nvl"),
        ("NVIDIA GH200 480GB", 97871, (9, 0), "gh200-96gb"),
        ("NVIDIA GH200 144G HBM3e", 147456, (9, 0), "gh200-144gb"),
        ("NVIDIA B200", 183359, (10, 0), "b200"),
        ("NVIDIA B300 SXM6 AC", 275040, (10, 3), "b300"),
        ("NVIDIA B200", 183359, (9, 0), None),
        ("NVIDIA GeForce RTX 4090", 49140, (8, 9), "rtx-4090-48gb"),
        ("NVIDIA GeForce RTX 4090 D", 49140, (8, 9), "rtx-4090-d-48gb"),
        ("NVIDIA GeForce RTX 3080", 20480, (8, 6), "rtx-3080-20gb"),
        ("NVIDIA GeForce RTX 2080 Ti", 22528, (7, 5), "rtx-2080-ti-22gb"),
        ("NVIDIA GeForce RTX 4080 SUPER", 32760, (8, 9), "rtx-4080-super-32gb"),
        ("NVIDIA GeForce RTX 5090 D v2", 24455, (12, 0), "rtx-5090-d-v2"),
        ("NVIDIA GeForce RTX 5080 Laptop GPU", 16303, (12, 0), "rtx-5080-laptop"),
        ("NVIDIA GeForce RTX 5080", 16303, (12, 0), "rtx-5080"),
        ("NVIDIA RTX 5880 Ada Generation", 49140, (8, 9), "rtx-5880-ada"),
        ("NVIDIA RTX PRO 5000 72GB Blackwell", 73415, (12, 0), "rtx-pro-5000-72gb"),
        ("NVIDIA L20", 46068, (8, 9), "l20"),
        ("NVIDIA H20", 97871, (9, 0), "h20"),
        ("NVIDIA H20-3e", 143771, (9, 0), "h20-141gb"),
        ("NVIDIA H800", 81559, (9, 0), "h800-sxm"),
        ("NVIDIA H800 PCIe", 81559, (9, 0), "h800-pcie"),
        ("NVIDIA A800-SXM4-80GB", 81920, (8, 0), "a800-sxm-80gb"),
        ("NVIDIA A800 80GB PCIe", 81920, (8, 0), "a800-pcie-80gb"),
        ("NVIDIA A800 40GB Active", 40960, (8, 0), "a800-pcie-40gb"),
        ("Tesla V100S-PCIE-32GB", 32768, (7, 0), "v100s-32gb"),
        ("NVIDIA T4G", 15360, (7, 5), "t4g"),
        ("NVIDIA TITAN RTX", 24576, (7, 5), "titan-rtx"),
        ("NVIDIA GB200", 189471, (10, 0), "gb200"),
        ("NVIDIA GB300", 284208, (10, 3), "gb300"),
        ("NVIDIA GB300", 256703, (10, 3), "gb300-252gb"),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9728, (8, 0), "a100-80gb-1g.10gb"),
        ("NVIDIA A100 80GB PCIe MIG 1g.10gb+me", 9728, (8, 0), "a100-80gb-1g.10gb"),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", 20096, (8, 0), "a100-40gb-3g.20gb"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.20gb", 20096, (9, 0), "h100-80gb-1g.20gb"),
        ("NVIDIA A30 MIG 2g.12gb", 11968, (8, 0), "a30-2g.12gb"),
        ("NVIDIA H200 MIG 1g.18gb", 16384, (9, 0), None),
    ],
)
def test_a_product_name_has_a_kind(
    name: str, mib: int, compute: tuple[int, int], kind: str | None
) -> None:
    assert kind_of(card(name, mib, compute), builtin_kinds()) == kind


def test_every_kind_of_the_catalog_is_found_by_its_own_name() -> None:
    kinds = builtin_kinds()
    for name, kind in kinds.items():
        gpu = FoundGpu(
            name=f"NVIDIA {name}", uuid="GPU-1", memory_bytes=kind.memory_bytes,
            compute=kind.compute, mig=kind.mig, island=0,
        )  # fmt: skip
        assert kind_of(gpu, kinds) == name


@pytest.mark.parametrize(
    ("name", "mib", "expected"),
    [
        ("NVIDIA TITAN Z", 12288, "titan-z"),
        ("NVIDIA GeForce RTX 3060", 16384, "rtx-3060-16gb"),
        ("NVIDIA H200 MIG 1g.18gb", 16384, "h200-mig-1g-18gb"),
        ("NVIDIA " + "Long " * 20, 1024, "long-long-long-long-long-long-long-long-long-long"),
        ("図", 1024, "gpu"),
    ],
)
def test_a_new_kind_has_a_name_of_its_own(name: str, mib: int, expected: str) -> None:
    assert new_kind(card(name, mib, (8, 6)), builtin_kinds()) == expected


def card(name: str, mib: int, compute: tuple[int, int]) -> FoundGpu:
    return FoundGpu(
        name=name, uuid="GPU-1", memory_bytes=mib * MIB, compute=compute, mig=" MIG " in name,
        island=0,
    )  # fmt: skip


# Edits


@pytest.mark.parametrize(
    ("before", "path", "value", "after"),
    [
        ("", ("a", "b"), "x", "a: {b: x}\n"),
        ("# c", ("a",), "x", "# c\na: x\n"),
        ("a:   # c\nb: 1\n", ("a", "k"), "x", "a: {k: x}   # c\nb: 1\n"),
        ("a:\n    k: 1  # c\n      # d\n\n# e\nb: 2", ("a", "l"), "x",
         "a:\n    k: 1  # c\n      # d\n    l: x\n\n# e\nb: 2"),
        ("a: {}\n", ("a", "k"), "x", "a: {k: x}\n"),
        ("a: {\n  k: 1,  # c\n  l: 2 }\n", ("a", "k"), "x", "a: {\n  k: x,  # c\n  l: 2 }\n"),
        ("a: 1  # c", ("a",), [{"k": "x"}], "a:  # c\n  - {k: x}\n"),
        ("a:\n- k: 1\n- k: 2\nb: 1\n", ("a",), [], "a: []\nb: 1\n"),
        ('"a b": |\n  # text\n\nc: 1\n', ("a b",), "404", '"a b": "404"\n\nc: 1\n'),
    ],
)  # fmt: skip
def test_putting_a_key(before: str, path: tuple[str, ...], value: object, after: str) -> None:
    assert put_key(before, path, value) == after


def test_items_move_with_their_comments() -> None:
    before = "a:\n- {k: 1}  # one\n# two\n- k: 2\nb: 1\n"
    after = "a:\n# two\n- k: 2\n- {k: x}\n- {k: 1}  # one\nb: 1\n"
    assert put_items(before, ("a",), [(1, {"k": 2}), (None, {"k": "x"}), (0, {"k": 1})]) == after
