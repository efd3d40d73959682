"""inventory.yaml: the Inventory that its entries stand for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from compiler.diagnostics import LIST_KINDS, Diagnostic
from compiler.engines.registry import engine_names, traits_of
from compiler.ir.catalog import builtin_kinds
from compiler.ir.document import Document
from compiler.ir.engine_name import EngineName
from compiler.ir.inventory import EngineInstall, Gpu, GpuKind, Host, Inventory
from compiler.ir.kind_names import kind_hints
from compiler.ir.names import natural_key
from compiler.ir.units import format_size
from compiler.load.faults import validate
from compiler.load.hostnames import MAX_HOSTS, expand
from compiler.load.inventory_file import (
    DEFAULT_LISTEN,
    DEFAULT_MODELS_DIR,
    DEFAULT_POOL_UTILIZATION_PERMILLE,
    DEFAULT_PORTS,
    DEFAULT_RAM_RESERVED_BYTES,
    DEFAULT_RESERVED_BYTES,
    DEFAULT_TARGET,
    DEFAULT_UTILIZATION_PERMILLE,
    EngineEntry,
    GpuBlockEntry,
    GpuEntry,
    HostEntry,
    InventoryFile,
)
from compiler.load.kinds import KindFault, assumed, described_kind, pooled
from compiler.load.merging import merged
from compiler.load.states import with_states

_DESCRIBE_KIND = "Another one is described under `gpu_kinds`: its memory and compute capability."


def load_inventory(document: Document) -> tuple[Inventory | None, list[Diagnostic]]:
    """The inventory of a document and every fault; with faults, it holds what could be read."""
    file, faults = validate(InventoryFile, document)
    if file is None:
        return None, faults
    loader = _Loader(file, document)
    hosts = loader.hosts(file.hosts)
    loader.check_names(hosts)
    loader.check_uuids(hosts)
    loader.check_minors(hosts)
    loader.tell_assumed(hosts)
    named = sorted((each for each, _ in hosts), key=lambda host: natural_key(host.name))
    stated, found = with_states(file.states, named, document)
    loader.faults += found
    inventory = Inventory(hosts=tuple(stated))
    # What is wrong with a block is wrong with each of its GPUs, and worth saying once.
    return inventory, faults + list(dict.fromkeys(loader.faults))


def load_kinds(document: Document) -> dict[str, GpuKind]:
    """Every kind that an inventory may name: the built-in ones, and its own as far as they hold."""
    file, _ = validate(InventoryFile, document)
    return _Loader(file, document).kinds if file else dict(builtin_kinds())


class _Loader:
    """Collects the faults of one inventory; thrown away after it."""

    def __init__(self, file: InventoryFile, document: Document) -> None:
        self.document = document
        self.defaults = file.defaults
        self.faults: list[Diagnostic] = []
        self.n_hosts = 0
        self.ranges: dict[str, str] = {}
        """The range that a host with an entry of its own is one of."""
        self.kinds = dict(builtin_kinds())
        for name, entry in file.gpu_kinds.items():
            self.kinds[name], faults = described_kind(name, entry)
            self._tell(faults)

    def hosts(self, entries: dict[str, HostEntry]) -> list[tuple[Host, str]]:
        """The hosts that the entries stand for, each with its entry's key.

        A host's own entry stands over that of the ranges it is one of: what it does not say, the
        first of them says.
        """
        names = {key: self._names(key) for key in entries}
        own = {key for key, expanded in names.items() if expanded == [key]}
        ranges: dict[str, str] = {}
        for key, expanded in names.items():
            for name in expanded if key not in own else ():
                ranges.setdefault(name, key)
        self.ranges = {key: ranges[key] for key in own if key in ranges}
        found: list[tuple[Host, str]] = []
        for key, entry in entries.items():
            ranged = self.ranges.get(key)
            whole = merged(entries[ranged], entry) if ranged else entry
            rest = [name for name in names[key] if key in own or name not in own]
            if not rest:
                continue
            pattern = self._host(key, whole)
            address = whole.address or "{name}"
            found += [
                (replace(pattern, name=each, address=address.replace("{name}", each)), key)
                for each in rest
            ]
        return found

    def check_names(self, hosts: list[tuple[Host, str]]) -> None:
        """No two entries give one host, as DNS sees it; of two ranges, the first name is told."""
        owners: dict[str, str] = {}
        told: set[tuple[str, str]] = set()
        for host, key in hosts:
            first = owners.setdefault(host.name.lower(), key)
            if first != key and (first, key) not in told:
                told.add((first, key))
                self._fault(
                    "host-collision",
                    f"`{key}` and `{first}` both give the host `{host.name}`.",
                    "Take the name out of one of the two; `gpu-[01-03,05]` leaves out 04.",
                    "hosts", key,
                )  # fmt: skip

    def check_uuids(self, hosts: list[tuple[Host, str]]) -> None:
        """No two GPUs have one uuid, or two replicas would be started on the same GPU."""
        owners: dict[str, tuple[str, str]] = {}
        told: set[tuple[str, str]] = set()
        for host, key in hosts:
            for gpu in host.gpus:
                here = f"{host.name}/{gpu.index}"
                first, owner = owners.setdefault(gpu.uuid or here, (here, key))
                if first != here and (owner, key) not in told:
                    told.add((owner, key))
                    self._fault(
                        "name-collision",
                        f"`{here}` has the uuid of `{first}`, `{gpu.uuid}`.",
                        "Write what `nvidia-smi -L` prints on each host; a range cannot share it.",
                        "hosts", key, "gpus", gpu.index,
                    )  # fmt: skip

    def check_minors(self, hosts: list[tuple[Host, str]]) -> None:
        """No two GPUs of a host have one node."""
        for host, key in hosts:
            owners: dict[int, int] = {}
            for gpu in host.gpus:
                if gpu.node is None:
                    continue
                first = owners.setdefault(gpu.node, gpu.index)
                if first != gpu.index:
                    self._fault(
                        "name-collision",
                        f"`{host.name}/{gpu.index}` has the minor of `{host.name}/{first}`, "
                        f"{gpu.node}. Without `uuid` and `minor`, it is the place in the list.",
                        "Write what `nvidia-smi -q | grep -E 'Minor|UUID'` prints.",
                        "hosts", key, "gpus", gpu.index,
                    )  # fmt: skip

    def tell_assumed(self, hosts: list[tuple[Host, str]]) -> None:
        """A warning for each kind whose memory nobody has seen, at the first host that has it."""
        told: set[str] = set()
        for host, key in hosts:
            for kind in (gpu.kind for gpu in host.gpus):
                if kind.assumed and kind.name not in told:
                    told.add(kind.name)
                    self.faults.append(assumed(kind, self.document.key("hosts", key, "gpus")))

    def _host(self, name: str, entry: HostEntry) -> Host:
        """The host of an entry; a range differs in name and address only."""
        defaults = self.defaults
        gpus = self._gpus(name, entry)
        ram = entry.ram if entry.ram is not None else defaults.ram
        reserved = _first(entry.ram_reserved, defaults.ram_reserved, DEFAULT_RAM_RESERVED_BYTES)
        pool = next((gpu for gpu in gpus if gpu.kind.unified), None)
        if pool is not None:
            # What `defaults.ram` says is meant for hosts whose RAM is apart.
            ram = min(pool.kind.memory_bytes, entry.ram or pool.kind.memory_bytes)
            if entry.ram_reserved is None and defaults.ram_reserved is None:
                reserved = min(reserved, ram // 8)
            gpus, faults = pooled(name, gpus, ram, reserved)
            self._tell(faults)
        written = (*self._entries(name, "ram"), ("defaults", "ram"))
        if ram is None and not any(self.document.holds(*place) for place in written):
            self._fault(
                "missing-key",
                f"Host `{name}` needs the key `ram`: weights and caches also take RAM.",
                "Write `ram: 64GiB` there, or under `defaults`.",
                "hosts", name,
            )  # fmt: skip
        return Host(
            name=name,
            address=name,
            labels=dict(entry.labels),
            target=_first(entry.target, defaults.target, DEFAULT_TARGET),
            ram_bytes=ram or 0,
            ram_reserved_bytes=reserved,
            ports=_first(entry.ports, defaults.ports, DEFAULT_PORTS),
            models_dir=_first(entry.models_dir, defaults.models_dir, DEFAULT_MODELS_DIR),
            listen=_first(entry.listen, defaults.listen, DEFAULT_LISTEN),
            engines=self._engines(name, entry),
            gpus=gpus,
            state=entry.state,
        )

    def _engines(self, name: str, entry: HostEntry) -> dict[EngineName, EngineInstall]:
        found: dict[EngineName, EngineInstall] = {}
        for engine in engine_names():
            own, default = entry.engines.of(engine), self.defaults.engines.of(engine)
            if own is None and default is None:
                continue
            version = _version(own) or _version(default)
            if version is None:
                place = (
                    ("hosts", name, "engines", engine) if own else ("defaults", "engines", engine)
                )
                self._no_version(engine, *place)
                continue
            found[engine] = EngineInstall(
                version=version,
                bin=_engine_value("bin", own, default) or traits_of(engine).usual_bin,
                image=_engine_value("image", own, default),
            )
        return found

    def _entries(self, name: str, *rest: str) -> tuple[tuple[str, ...], ...]:
        """A place in the host's own entry, and in that of its range."""
        keys = [name, *([self.ranges[name]] if name in self.ranges else [])]
        return tuple(("hosts", key, *rest) for key in keys)

    def _no_version(self, engine: EngineName, *place: str) -> None:
        own = self._entries(place[1], *place[2:]) if place[0] == "hosts" else (place,)
        places = (*own, ("defaults", "engines", engine))
        if any(self.document.holds(*each, key) for each in places for key in ("version", "build")):
            return
        subject = f"host `{place[1]}`" if place[0] == "hosts" else "the defaults"
        self._fault(
            "missing-key",
            f"Engine `{engine}` of {subject} needs its version: memory laws and flags change with "
            "it.",
            f"Write {_versions()}.",
            *place,
        )

    def _gpus(self, name: str, entry: HostEntry) -> tuple[Gpu, ...]:
        if isinstance(entry.gpus, GpuBlockEntry):
            return self._block(name, entry.gpus)
        slices = [index for index, each in enumerate(entry.gpus) if self._lacks_uuid(each)]
        if len(entry.gpus) > 1:
            self._check_slices(name, slices)
        gpus = []
        for index, each in enumerate(entry.gpus):
            place = ("hosts", name, "gpus", index)
            kind = self._find_kind(each.kind, name, *place, "kind")
            if kind:
                named = each.uuid, each.minor
                gpus.append(self._gpu(index, kind, each, named, each.island or 0, place))
        return tuple(gpus)

    def _lacks_uuid(self, entry: GpuEntry | GpuBlockEntry) -> bool:
        kind = self.kinds.get(entry.kind)
        named = entry.uuid if isinstance(entry, GpuEntry) else entry.uuids
        return kind is not None and kind.mig and not named

    def _check_slices(self, name: str, indices: list[int]) -> None:
        """CUDA shows a process the first MIG slice only, unless others are named by UUID."""
        for index in indices:
            self._fault(
                "missing-key",
                f"GPU {index} of host `{name}` is a MIG slice without `uuid`, by which alone CUDA "
                "finds one of several.",
                "Write the `MIG-...` of `nvidia-smi -L`.",
                *("hosts", name, "gpus", index),
            )

    def _block(self, name: str, block: GpuBlockEntry) -> tuple[Gpu, ...]:
        place = ("hosts", name, "gpus")
        kind = self._find_kind(block.kind, name, *place, "kind")
        islands = self._islands(name, block)
        for key, given in (("uuid", block.uuids), ("minor", block.minors)):
            if given and len(given) != block.count:
                self._fault(
                    "wrong-value",
                    f"Host `{name}` has {block.count} GPUs and {len(given)} {key}s.",
                    f"Give one {key} for each GPU, in the order of nvidia-smi.",
                    *place, f"{key}s",
                )  # fmt: skip
        if kind is None:
            return ()
        if block.count > 1 and self._lacks_uuid(block):
            self._check_slices(name, [0])
        uuids = list(block.uuids or []) + [None] * block.count
        minors = list(block.minors or []) + [None] * block.count
        return tuple(
            self._gpu(index, kind, block, (uuids[index], minors[index]), islands[index], place)
            for index in range(block.count)
        )

    def _islands(self, name: str, block: GpuBlockEntry) -> list[int]:
        if block.islands is None:
            return [0] * block.count
        members = [index for island in block.islands for index in island]
        if sorted(members) != list(range(block.count)):
            self._fault(
                "wrong-value",
                f"Host `{name}`: islands must name each GPU from 0 to {block.count - 1} once.",
                "Write for example `islands: [[0, 1, 2, 3], [4, 5, 6, 7]]`.",
                "hosts", name, "gpus", "islands",
            )  # fmt: skip
            return [0] * block.count
        island_of = {gpu: number for number, island in enumerate(block.islands) for gpu in island}
        return [island_of[index] for index in range(block.count)]

    def _gpu(
        self,
        index: int,
        kind: GpuKind,
        entry: GpuEntry | GpuBlockEntry,
        named: tuple[str | None, int | None],
        island: int,
        place: tuple[str | int, ...],
    ) -> Gpu:
        default = self.defaults.gpu
        reserved = _first(entry.reserved, default.reserved, DEFAULT_RESERVED_BYTES)
        share = _first(entry.utilization, default.utilization, DEFAULT_UTILIZATION_PERMILLE)
        if kind.unified and entry.utilization is None:
            share = min(share, DEFAULT_POOL_UTILIZATION_PERMILLE)
        uuid, minor = named
        gpu = Gpu(
            index=index, kind=kind, uuid=uuid, minor=minor, reserved_bytes=reserved,
            utilization_permille=share, island=island,
            state=entry.state if isinstance(entry, GpuEntry) else "ready",
        )  # fmt: skip
        if minor is not None and kind.mig:
            self._fault(
                "wrong-value",
                f"GPU {index} of host `{place[1]}` is a MIG slice, which has no node of its own, "
                "and is given a minor.",
                "Leave out the minor.",
                *place,
            )
        if gpu.budget_bytes <= 0:
            self._fault(
                "bad-budget",
                f"GPU `{kind.name}` has {format_size(kind.memory_bytes)}, of which "
                f"{format_size(reserved)} are reserved and a share of {share / 1000:g} is ours.",
                "Lower `reserved` or raise `utilization`.",
                *place,
            )
        return gpu

    def _find_kind(self, kind: str, host: str, *place: str | int) -> GpuKind | None:
        if kind in self.kinds:
            return self.kinds[kind]
        self._fault(
            "unknown-gpu-kind",
            f"Host `{host}` has a GPU of kind `{kind[:60]}`, which is neither in the built-in "
            "catalog nor under `gpu_kinds`.",
            (*kind_hints(kind, self.kinds), f"{LIST_KINDS} {_DESCRIBE_KIND}"),
            *place,
        )
        return None

    def _names(self, pattern: str) -> list[str]:
        hint = (
            "A name is letters, digits, dots and inner dashes; a range is as `gpu-[01-08]` or "
            "`gpu-[01-03,05]`."
        )
        if self.n_hosts > MAX_HOSTS:
            return []
        try:
            names = expand(pattern)
        except ValueError as error:
            self._fault("bad-range", str(error), hint, "hosts", pattern)
            return []
        self.n_hosts += len(names)
        if self.n_hosts > MAX_HOSTS:
            detail = f"With `{pattern}` the inventory has more than {MAX_HOSTS:,} hosts."
            self._fault("bad-range", detail, hint, "hosts", pattern)
        return names

    def _tell(self, faults: list[KindFault]) -> None:
        for each in faults:
            self._fault(each.code, each.detail, each.hint, *each.place)

    def _fault(
        self, code: str, detail: str, hint: str | tuple[str, ...], *place: str | int
    ) -> None:
        hints = (hint,) if isinstance(hint, str) else hint
        location = self.document.key(*place)
        self.faults.append(Diagnostic(code=code, detail=detail, location=location, hints=hints))


def _version(entry: EngineEntry | None) -> str | None:
    """The version by whichever name it was given; a host's own comes before the default's."""
    return (entry.version or entry.build) if entry else None


def _engine_value(field: str, own: EngineEntry | None, default: EngineEntry | None) -> str | None:
    """One field of an engine: the host's own, else the default's."""
    for entry in (own, default):
        value: str | None = getattr(entry, field) if entry else None
        if value is not None:
            return value
    return None


def _first(*candidates: Any) -> Any:  # noqa: ANN401  The type of the field it is for.
    """The first that is given; the last one always is."""
    for candidate in candidates:
        if candidate is not None:
            return candidate
    raise AssertionError


def _versions() -> str:
    """How the version of each engine is written, of the newest as an example."""
    known = [traits_of(name) for name in engine_names()]
    return " or ".join(f"`{each.version_key}: {each.newest}` ({each.title})" for each in known)
