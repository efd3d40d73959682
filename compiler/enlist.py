"""`modelc discover`: the host that was found, as an entry of inventory.yaml."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from compiler.diagnostics import CompileError, Diagnostic
from compiler.discover.edit import block_text, put_items, put_key
from compiler.discover.kinds import agrees, kind_of, new_kind, whole_mib
from compiler.discover.machine import Found, FoundGpu
from compiler.ir.catalog import builtin_kinds
from compiler.ir.document import Document
from compiler.ir.inventory import GpuKind
from compiler.ir.textfile import TextFile
from compiler.ir.units import GIB, format_size
from compiler.load.faults import validate
from compiler.load.hostnames import expand
from compiler.load.inventory import load_inventory
from compiler.load.inventory_file import InventoryFile
from compiler.load.yamltext import parse_yaml

# What a repository without an inventory begins with.
EMPTY_INVENTORY = "version: 1\nhosts:\n"

# Systems count RAM with or without what the kernel and the firmware keep, up to some 3 % of it.
_RAM_TOLERANCE_PERMILLE = 50
_PERMILLE = 1000
# What tells a GPU from its equals; a unit is allowed the one node of a GPU that has both.
_IDENTITY = ("uuid", "minor")
DISPLAY_RESERVE = "1536MiB"
"""For a GPU that drives a display: a desktop of one or two screens and a browser take about 1 GiB
there, and come and go while services run."""
# What the user decides about a GPU and no driver knows.
_SETTINGS = ("reserved", "utilization", "island")


@dataclass(frozen=True, slots=True, kw_only=True)
class Enlisted:
    """inventory.yaml with the host in it."""

    host: str
    text: str
    entry: str
    """The host and new GPU kinds alone, as YAML."""
    n_gpus: int
    gone: tuple[str, ...]
    """UUIDs that the entry named and that this host does not have."""
    displays: tuple[int, ...]
    """Indices of GPUs that drive a display and are given a reserve for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """A GPU as the list shall have it, and which item of the old list it is, if any."""

    before: int | None
    values: dict[str, object]


def enlist(file: TextFile, found: Found, name: str | None) -> Enlisted:
    """The inventory with the host that was found, everything else in it as it was.

    Where a range stands for the host, an entry of its own says in what it differs from the range.
    Raises CompileError when the result would have faults.
    """
    document = parse_yaml(file.path, file.text)
    inventory, faults = validate(InventoryFile, document)
    hosts = _mapping(_mapping(document.data).get("hosts"))
    kinds = dict(builtin_kinds())
    if inventory is not None:
        for kind, described in inventory.gpu_kinds.items():
            kinds[kind] = _user_kind(kind, described, kinds.get(kind))
    key, ranged = _key(found, name, hosts)
    old = _mapping(hosts.get(key))
    said = {**_mapping(hosts.get(ranged or "")), **old}
    if not found.driver and _slots(said.get("gpus")):
        raise CompileError([_no_driver(key)])
    items, new = _items(found.gpus, _slots(said.get("gpus")), kinds)
    # Where the RAM is the GPU's memory as well, the host says its own.
    pooled = any(gpu.unified for gpu in found.gpus)
    default_ram = inventory.defaults.ram if inventory and not pooled else None
    entries = [inventory.hosts.get(each) for each in (key, ranged or "")] if inventory else []
    own_ram = next((each.ram for each in entries if each and each.ram), None)
    ram = _ram(found.ram_bytes, own_ram or default_ram)
    defaults = _mapping(_mapping(document.data).get("defaults"))
    if found.ram_bytes is None and not ("ram" in said or "ram" in defaults):
        # A file that is begun has no hosts yet, which is its one fault.
        raise CompileError([*(faults if hosts else []), _ram_unknown(key)])
    entry: dict[str, object] = {"ram": ram} if ram else {}
    if not (ranged and "gpus" in said and _says_all(said["gpus"], items)):
        entry["gpus"] = [item.values for item in items]
    wanted: dict[str, object] = {"hosts": {key: entry}}
    if new:
        wanted["gpu_kinds"] = new
    # A host that is as its range says needs no entry.
    text = _edited(file.text, key, old, entry, items) if entry else file.text
    for kind, values in new.items():
        text = put_key(text, ("gpu_kinds", kind), values)
    if entry:
        _must_load(TextFile(path=file.path, text=text), document, faults, wanted)
    uuids = {gpu.uuid for gpu in found.gpus}
    gone = (str(slot["uuid"]) for slot in _slots(old.get("gpus")) if slot.get("uuid"))
    return Enlisted(
        host=key,
        text=text,
        entry=block_text(wanted),
        n_gpus=len(items),
        gone=tuple(uuid for uuid in gone if uuid not in uuids),
        displays=tuple(
            index
            for index, (gpu, item) in enumerate(zip(found.gpus, items, strict=True))
            if gpu.display and item.before is None
        ),
    )


def _edited(
    text: str, key: str, old: dict[str, Any], entry: dict[str, object], items: list[_Item]
) -> str:
    """The text with the entry: as little of an old one is touched as can be."""
    if not old:
        return put_key(text, ("hosts", key), entry)
    if "ram" in entry:
        text = put_key(text, ("hosts", key, "ram"), entry["ram"])
    if "gpus" not in entry:
        return text
    if "gpus" not in old:
        return put_key(text, ("hosts", key, "gpus"), entry["gpus"])
    slots = _slots(old.get("gpus"))
    same = [item.before for item in items] == list(range(len(slots)))
    if same and _says_all(old["gpus"], items):
        return text
    return put_items(text, ("hosts", key, "gpus"), [(item.before, item.values) for item in items])


def _says_all(old: object, items: list[_Item]) -> bool:
    """Whether the old GPUs are these already. A block of equal ones needs no uuids for that."""
    slots = _slots(old)
    wanted = [item.values for item in items]
    if isinstance(old, dict) and not (old.get("uuids") or any(_is_slice(each) for each in wanted)):
        wanted = [{k: v for k, v in each.items() if k not in _IDENTITY} for each in wanted]
    return slots == wanted


def _is_slice(values: dict[str, object]) -> bool:
    return str(values.get("uuid")).startswith("MIG-")


def _items(
    gpus: tuple[FoundGpu, ...], slots: list[dict[str, Any]], kinds: dict[str, GpuKind]
) -> tuple[list[_Item], dict[str, dict[str, object]]]:
    """The GPUs as the list shall have them, and the kinds that must be described for it."""
    by_uuid = {slot["uuid"]: index for index, slot in enumerate(slots) if slot.get("uuid")}
    known = dict(kinds)
    new: dict[str, dict[str, object]] = {}
    named: list[tuple[FoundGpu, int | None, str]] = []
    for index, gpu in enumerate(gpus):
        before = by_uuid.get(gpu.uuid)
        if before is None and index < len(slots) and not slots[index].get("uuid"):
            # An entry without uuids counts as nvidia-smi does.
            before = index if _agrees(known, slots[index], gpu) else None
        if before is not None and _agrees(known, slots[before], gpu):
            kind = str(slots[before]["kind"])
        else:
            kind = kind_of(gpu, known) or _new_kind(gpu, known)
        if kind not in known:
            new[kind] = _described(gpu, gpus)
            known[kind] = _kind(kind, gpu)
        named.append((gpu, before, kind))
    islands = _islands(gpus, [known[kind] for _, _, kind in named])
    items = []
    for (gpu, before, kind), island in zip(named, islands, strict=True):
        values: dict[str, object] = {"kind": kind, **({"uuid": gpu.uuid} if gpu.uuid else {})}
        kept = slots[before] if before is not None else {}
        minor = gpu.minor if gpu.minor is not None else kept.get("minor")
        values |= {"minor": minor} if minor is not None else {}
        values |= {name: kept[name] for name in _SETTINGS if kept.get(name) is not None}
        if gpu.display and before is None and "reserved" not in values:
            values["reserved"] = DISPLAY_RESERVE
        if island is not None:
            values.setdefault("island", island)
        items.append(_Item(before=before, values=values))
    return items, new


def _new_kind(gpu: FoundGpu, kinds: dict[str, GpuKind]) -> str:
    name = new_kind(gpu, kinds)
    if name in kinds or gpu.compute is not None:
        return name
    detail = (
        f"`{gpu.name}` with {whole_mib(gpu.memory_bytes)} is no kind that is known, and the report "
        "does not say its compute capability."
    )
    hint = (
        f"Describe it under `gpu_kinds` as `{name}: {{memory: {whole_mib(gpu.memory_bytes)}, "
        'compute: "..."}`, with what `nvidia-smi --query-gpu=compute_cap --format=csv` prints.'
    )
    raise CompileError([Diagnostic(code="unknown-gpu-kind", detail=detail, hints=(hint,))])


def _agrees(kinds: dict[str, GpuKind], slot: dict[str, Any], gpu: FoundGpu) -> bool:
    kind = kinds.get(str(slot.get("kind")))
    return kind is not None and agrees(kind, gpu)


def _islands(gpus: tuple[FoundGpu, ...], kinds: list[GpuKind]) -> list[int | None]:
    """The island of each GPU, where it says more than the inventory's default of one for all."""
    numbers = list(dict.fromkeys(gpu.island for gpu in gpus))
    alone = len(numbers) == len(gpus)
    if len(numbers) == 1 or (alone and all(kind.link == "pcie" for kind in kinds)):
        return [None] * len(gpus)
    return [numbers.index(gpu.island) for gpu in gpus]


def _described(gpu: FoundGpu, gpus: tuple[FoundGpu, ...]) -> dict[str, object]:
    """What NVML knows of a kind. What CUDA would report as its total, it does not know."""
    linked = not gpu.mig and sum(each.island == gpu.island for each in gpus) > 1
    found: dict[str, object] = {
        "memory": whole_mib(gpu.memory_bytes),
        "compute": ".".join(map(str, gpu.compute or ())),
    }
    found |= {"unified": True} if gpu.unified else {}
    return found | ({"link": "nvlink"} if linked else {}) | ({"mig": True} if gpu.mig else {})


def _kind(name: str, gpu: FoundGpu) -> GpuKind:
    return GpuKind(
        name=name,
        memory_bytes=gpu.memory_bytes,
        cuda_total_bytes=gpu.memory_bytes,
        compute=gpu.compute or (0, 0),
        mig=gpu.mig,
        unified=gpu.unified,
    )


def _user_kind(
    name: str,
    described: Any,  # noqa: ANN401  An entry of gpu_kinds.
    built_in: GpuKind | None,
) -> GpuKind:
    unified = built_in is not None and built_in.unified
    return GpuKind(
        name=name,
        memory_bytes=described.memory,
        cuda_total_bytes=described.cuda_total or described.memory,
        compute=described.compute,
        link=described.link,
        mig=described.mig,
        unified=unified if described.unified is None else described.unified,
    )


def _slots(gpus: object) -> list[dict[str, Any]]:
    """What an entry says of each of its GPUs, by index, be it a list or a block."""
    if isinstance(gpus, list):
        return [_mapping(each) for each in gpus]
    block = _mapping(gpus)
    count = block.get("count")
    uuids, minors = block.get("uuids") or [], block.get("minors") or []
    shared = {name: block[name] for name in ("kind", *_SETTINGS) if name in block}
    islands = {gpu: n for n, island in enumerate(block.get("islands") or []) for gpu in island}
    return [
        {
            **shared,
            **({"uuid": uuids[index]} if index < len(uuids) else {}),
            **({"minor": minors[index]} if index < len(minors) else {}),
            **({"island": islands[index]} if index in islands else {}),
        }
        for index in range(count if isinstance(count, int) else 0)
    ]


def _ram(found_bytes: int | None, said_bytes: int | None) -> str | None:
    """The RAM to write; None where nothing is known or what is said is near enough."""
    if found_bytes is None:
        return None
    if said_bytes and abs(said_bytes - found_bytes) * _PERMILLE <= (
        said_bytes * _RAM_TOLERANCE_PERMILLE
    ):
        return None
    return whole_mib(found_bytes) if found_bytes % GIB else format_size(found_bytes)


def _ram_unknown(host: str) -> Diagnostic:
    return Diagnostic(
        code="missing-key",
        detail=f"Nothing says how much RAM `{host}` has: a report of GPUs does not.",
        hints=("Add `--ram 64GiB`, with what it has, or write `ram` under `defaults`.",),
    )


def _key(found: Found, name: str | None, hosts: dict[str, Any]) -> tuple[str, str | None]:
    """The host's key in the inventory, and the range that stands for it, if one does."""
    short = found.host.partition(".")[0]
    for wanted in [name] if name else [found.host, short]:
        standing = {
            key: len(names) > 1
            for key in hosts
            if wanted.lower() in (names := [each.lower() for each in _names(key)])
        }
        # An entry of its own stands over a range that stands for the host as well.
        own = next((key for key, is_range in standing.items() if not is_range), wanted.lower())
        if standing:
            return own, next((key for key, is_range in standing.items() if is_range), None)
    chosen = name or short
    if _names(chosen) != [chosen]:
        detail = f"`{chosen}` is no name that a host can have in the inventory."
        hint = "Give it another one with `--host`: letters, digits, dots and inner dashes."
        raise CompileError([Diagnostic(code="wrong-value", detail=detail, hints=(hint,))])
    return chosen, None


def _names(pattern: str) -> list[str]:
    try:
        return expand(pattern)
    except ValueError:
        return []


def _no_driver(host: str) -> Diagnostic:
    return Diagnostic(
        code="nvml-missing",
        detail=f"No NVIDIA driver answers here, and the inventory names GPUs of `{host}`.",
        hints=(
            "Install the driver, or write `gpus: []` if the host has none any more.",
            "With `--host NAME` this host is another one.",
        ),
    )


def _must_load(
    file: TextFile, before: Document, known: list[Diagnostic], wanted: dict[str, object]
) -> None:
    """The result must be an inventory without faults in which only the host has changed."""
    document = parse_yaml(file.path, file.text)
    _, faults = load_inventory(document)
    if faults:
        _, old = load_inventory(before)
        # Lines of a text that nobody has seen lead nowhere.
        raise CompileError(known or old or [replace(fault, location=None) for fault in faults])
    hosts = _mapping(wanted["hosts"])
    if _without(document, hosts) != _without(before, hosts):
        detail = f"Writing {', '.join(f'`{host}`' for host in hosts)} would change other entries."
        hint = "This is a bug in modelc; please report it with your inventory.yaml."
        raise CompileError([Diagnostic(code="internal", detail=detail, hints=(hint,))])


def _without(document: Document, hosts: dict[str, Any]) -> tuple[object, ...]:
    """All that an edit of these hosts must not touch."""
    data = _mapping(document.data)
    others = {k: v for k, v in _mapping(data.get("hosts")).items() if k not in hosts}
    entries = [
        {k: v for k, v in _mapping(_mapping(data.get("hosts")).get(host)).items()
         if k not in {"ram", "gpus"}}
        for host in hosts
    ]  # fmt: skip
    return others, entries, {k: v for k, v in data.items() if k not in {"hosts", "gpu_kinds"}}


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
