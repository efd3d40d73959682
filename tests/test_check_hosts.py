"""How engines are installed on the hosts, and who reaches what they serve."""

from __future__ import annotations

import pytest

from compiler.diagnostics import Severity
from tests.test_check import GGUF, INVENTORY, LLM, check_inventory, check_spec, faults_of


def installed(engine: str, entry: str, target: str = "compose") -> str:
    """The inventory with one engine installed so, on hosts of one target."""
    entry = entry.replace("DIGEST", "0310" * 16)
    old = {"vllm": "vllm: {version: 0.33.0}", "llama.cpp": "llama.cpp: {build: 9000}"}[engine]
    return INVENTORY.replace(old, f"{engine}: {{{entry}}}").replace(
        "  ram: 64GiB", f"  target: {target}\n  ram: 64GiB"
    )


@pytest.mark.parametrize(
    ("engine", "entry", "target", "named"),
    [
        ("vllm", 'version: 0.33.0, »image: "vllm/vllm-openai:v0.31.0"', "compose", "0.31.0"),
        (
            "vllm",
            'version: v0.33, »image: "x/vllm:0.33.1-cu129@sha256:DIGEST"',
            "quadlet",
            "0.33.1",
        ),
        ("vllm", "version: 0.33.0, »bin: /opt/vllm-0.31/bin/vllm", "systemd", "0.31"),
        ("vllm", "version: 0.33.0, »bin: /opt/vllm/0.31.2/bin/vllm", "script", "0.31.2"),
        ("llama.cpp", 'build: b9000, »image: "g/llama.cpp:server-cuda-b9001"', "compose", "b9001"),
        ("llama.cpp", "build: 9000, »bin: /opt/llama.cpp-b8999/llama-server", "script", "b8999"),
        ("llama.cpp", 'build: 9000, »image: "g/llama.cpp:server-0.5.0"', "compose", "0.5.0"),
    ],
)
def test_a_name_that_says_another_release(engine: str, entry: str, target: str, named: str) -> None:
    check_inventory(
        installed(engine, entry, target),
        ("other-release", f"names {named}", "Write the same release in both"),
    )


@pytest.mark.parametrize(
    ("engine", "entry", "target"),
    [
        ("vllm", 'version: 0.33.0, image: "vllm/vllm-openai:v0.33.0@sha256:DIGEST"', "compose"),
        ("vllm", 'version: 0.33.2, image: "vllm/vllm-openai:v0.33"', "compose"),
        ("vllm", 'version: 0.33.0, image: "nvcr.io/nvidia/vllm:25.09-py3"', "compose"),
        ("vllm", 'version: 0.33.0, image: "vllm/vllm-openai:latest"', "quadlet"),
        ("vllm", 'version: 0.33.0, image: "registry/llm:0.31.0"', "compose"),
        ("vllm", "version: 0.33.0, bin: /opt/python3.12/bin/vllm", "systemd"),
        # Of the image and the program, only what is started counts.
        ("vllm", 'version: 0.33.0, image: "vllm/vllm-openai:v0.31.0"', "systemd"),
        ("llama.cpp", 'build: 11146, image: "g/llama.cpp:server-v0.5.0"', "compose"),
        ("llama.cpp", 'build: 9000, image: "g/llama.cpp:server-cuda12"', "compose"),
    ],
)
def test_a_name_that_says_none_or_the_same(engine: str, entry: str, target: str) -> None:
    check_inventory(installed(engine, entry, target))


@pytest.mark.parametrize(
    ("model", "key"), [(LLM, "VLLM_API_KEY"), (GGUF, "LLAMA_API_KEY")], ids=["vllm", "llama.cpp"]
)
@pytest.mark.parametrize("listen", ["0.0.0.0", "'::'", "10.0.0.5", "fd00::5"])  # noqa: S104
def test_a_service_that_others_reach_without_a_key(model: str, key: str, listen: str) -> None:
    check_spec(
        f"  chat: {{model: '{model}', »listen: {listen}}}\n",
        ("open-service", "its engine asks for no key", f"Write `secrets: [{key}]`"),
    )
    check_spec(f"  chat: {{model: '{model}', listen: {listen}, secrets: [{key}]}}\n")


@pytest.mark.parametrize("listen", ["localhost", "127.0.0.1", "127.0.0.53", "'::1'"])
def test_a_service_that_its_own_host_reaches(listen: str) -> None:
    check_spec(f"  chat: {{model: '{LLM}', listen: {listen}}}\n")
    check_spec(f"  chat: {{model: '{LLM}'}}\n")


def test_what_the_host_says_counts_where_the_service_says_nothing() -> None:
    opened = INVENTORY.replace("  ram: 64GiB", "  listen: 0.0.0.0\n  ram: 64GiB")
    spec = f"version: 1\nservices:\n  chat: {{model: {LLM}}}\n"
    (fault,) = faults_of(opened, spec)
    assert (fault.code, fault.severity) == ("open-service", Severity.WARNING)
    assert "`0.0.0.0` of `rack-1` and 2 more hosts" in fault.detail
    assert (
        faults_of(opened, spec.replace(f"{{model: {LLM}", f"{{listen: localhost, model: {LLM}"))
        == []
    )


def test_a_network_is_the_address_that_a_host_has_in_it() -> None:
    spec = f"version: 1\nservices:\n  chat: {{model: {LLM}, listen: 10.0.0.0/8}}\n"
    faults = faults_of(INVENTORY, spec)
    assert [fault.code for fault in faults] == ["contradiction"]
    assert "`rack-1` and 2 more hosts, whose `address` is `rack-1`" in faults[0].detail
    assert "`listen: 10.0.0.1`" in faults[0].hints[0]
    one = INVENTORY.replace("hosts:", "hosts:\n  here: {address: 10.1.2.3, ram: 64GiB, gpus: []}")
    pinned = spec.replace("listen:", "placement: {hosts: {name: [here]}}, listen:")
    (fault,) = faults_of(one, pinned.replace(LLM, f"'{GGUF}', offload: cpu"))
    assert (fault.code, "`10.1.2.3` of `here`" in fault.detail) == ("open-service", True)


@pytest.mark.parametrize(
    ("written", "address"),
    [("10.0.0.5/8", "10.0.0.5"), ("0.0.0.0/0", "0.0.0.0"), ("10.0.0.9/32", "10.0.0.9")],  # noqa: S104
)
def test_an_address_may_be_written_with_its_length(written: str, address: str) -> None:
    spec = f"version: 1\nservices:\n  chat: {{model: {LLM}, listen: {written}}}\n"
    (fault,) = faults_of(INVENTORY, spec)
    assert f"listens on `{address}`" in fault.detail


def test_a_key_for_one_of_two_engines_is_not_enough() -> None:
    variants = f"variants: [{{name: a, model: {LLM}}}, {{name: b, model: '{GGUF}'}}]"
    check_spec(
        f"  chat: {{{variants}, secrets: [VLLM_API_KEY], »listen: 0.0.0.0}}\n",
        ("open-service", "asks for no key", "Write `secrets: [LLAMA_API_KEY]`"),
    )


def test_only_containers_have_a_network_of_their_own() -> None:
    check_spec(
        f"  chat: {{model: '{LLM}', »listen: none}}\n",
        ("contradiction", "where `listen: none` is not possible", "Write `listen: localhost`"),
    )
    inventory = installed("vllm", 'version: 0.33.0, image: "vllm/vllm-openai:v0.33.0"')
    check_spec(f"  chat: {{model: '{LLM}', listen: none}}\n", inventory=inventory)
