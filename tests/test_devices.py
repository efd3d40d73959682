"""What an engine is shown of its host's GPUs, and which nodes its unit may open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.assemble.devices import Devices, devices_of
from compiler.ir.inventory import Gpu, Host, Target
from tests.generators.fleets import TinyFleet

HOST = TinyFleet(hosts={"h": (100, 100, 100, 100)}, services=()).inventory().host("h")


def gpu(index: int, uuid: str | None = None, minor: int | None = None) -> Gpu:
    return replace(HOST.gpus[index], uuid=uuid, minor=minor)


def shown(gpus: list[Gpu], host: Host = HOST) -> tuple[str, list[object]]:
    """CUDA_VISIBLE_DEVICES and the minors, in a unit."""
    found = devices_of(gpus, replace(host, target="systemd"))
    assert found.env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    return found.env["CUDA_VISIBLE_DEVICES"], list(found.minors)


def test_uuids_mean_the_same_gpu_whatever_else_a_unit_may_open() -> None:
    assert shown([gpu(0, "GPU-a", 1), gpu(1, "GPU-b", 0)]) == ("GPU-a,GPU-b", [1, 0])
    assert shown([gpu(0, "GPU-a")]) == ("GPU-a", [None])


def test_indices_are_counted_among_the_nodes_of_a_unit() -> None:
    assert shown([gpu(2)]) == ("0", [2])
    assert shown([gpu(3), gpu(1)]) == ("1,0", [3, 1])
    assert shown([gpu(1, minor=3)]) == ("0", [3])


def test_one_gpu_without_a_uuid_makes_all_be_counted() -> None:
    # The node of a GPU with a UUID is not its place in the list.
    assert shown([gpu(1, "GPU-b"), gpu(2)]) == ("1,2", [None, None])


def test_a_slice_has_no_node_of_its_own() -> None:
    whole = gpu(0)
    part = replace(whole, kind=replace(whole.kind, mig=True))
    assert shown([part]) == ("0", [None])


@pytest.mark.parametrize("target", ["script", "compose", "quadlet"])
def test_only_a_unit_is_allowed_single_nodes(target: Target) -> None:
    host = replace(HOST, target=target)
    found = devices_of([gpu(2)], host)
    assert found.env["CUDA_VISIBLE_DEVICES"] == "2"
    assert found.minors == (None,)


def test_on_the_cpu_no_gpu_is_shown() -> None:
    assert shown([]) == ("", [])
    assert devices_of([], replace(HOST, gpus=())) == Devices(env={}, minors=())
