"""The load pass on good texts: ranges, addresses, defaults, budgets, variants and arguments."""

from __future__ import annotations

import pytest

from compiler.ir.inventory import Host, Inventory
from compiler.ir.spec import Service, Spec
from compiler.ir.units import GIB, MIB
from compiler.load.inventory import load_inventory
from compiler.load.spec import load_spec
from compiler.load.yamltext import parse_yaml

HOSTS = "version: 1\nhosts:\n"
SERVICES = "version: 1\nservices:\n"
UUIDS = ("GPU-6f1c2d9e-0000-0000-0000-000000000000", "GPU-b2aa41f7-0000-0000-0000-000000000000")


def inventory(text: str) -> Inventory:
    """The inventory of a text without faults."""
    loaded, faults = load_inventory(parse_yaml("inventory.yaml", text))
    assert faults == []
    assert loaded is not None
    return loaded


def host(body: str, defaults: str = "{}") -> Host:
    """The host `tower` of an inventory without faults."""
    return inventory(f"version: 1\ndefaults: {defaults}\nhosts:\n  tower: {body}\n").host("tower")


def spec(text: str) -> Spec:
    """The spec of a text without faults."""
    loaded, faults = load_spec(parse_yaml("models.yaml", text))
    assert faults == []
    assert loaded is not None
    return loaded


def service(body: str) -> Service:
    """The service `chat` of a spec without faults."""
    return spec(f"{SERVICES}  chat: {body}\n").service("chat")


class TestInventory:
    """What good entries come to: ranges, addresses, defaults and budgets."""

    def test_a_range_keeps_its_width(self) -> None:
        names = [each.name for each in inventory(f"{HOSTS}  h[08-11]x: {{ram: 1GiB}}\n").hosts]
        assert names == ["h08x", "h09x", "h10x", "h11x"]

    def test_a_range_of_one(self) -> None:
        assert [h.name for h in inventory(f"{HOSTS}  h[7-7]: {{ram: 1GiB}}\n").hosts] == ["h7"]

    def test_an_address_holds_the_name(self) -> None:
        hosts = inventory(
            f'{HOSTS}  h[1-2]: {{ram: 1GiB, address: "{{name}}.dc1.example"}}\n'
        ).hosts
        assert [each.address for each in hosts] == ["h1.dc1.example", "h2.dc1.example"]

    def test_without_an_address_the_name_is_it(self) -> None:
        assert host("{ram: 1GiB}").address == "tower"

    def test_hosts_are_sorted_by_name(self) -> None:
        hosts = inventory(f"{HOSTS}  b: {{ram: 1GiB}}\n  a: {{ram: 1GiB}}\n").hosts
        assert [each.name for each in hosts] == ["a", "b"]

    def test_what_nobody_says(self) -> None:
        plain = host("{ram: 64GiB, gpus: [{kind: a10}]}")
        assert (plain.target, plain.ports, plain.models_dir) == (
            "systemd",
            (8000, 8999),
            "/srv/models",
        )
        assert plain.ram_budget_bytes == 60 * GIB
        assert (plain.gpus[0].reserved_bytes, plain.gpus[0].utilization_permille) == (
            512 * MIB,
            950,
        )

    def test_what_the_defaults_say(self) -> None:
        told = host(
            "{gpus: [{kind: a10}, {kind: a10, reserved: 3GiB, utilization: 0.5}]}",
            "{target: script, ram: 32GiB, ram_reserved: 2GiB, ports: 9000, models_dir: /m, "
            "gpu: {reserved: 1GiB, utilization: 0.9}}",
        )
        assert (told.target, told.ports, told.models_dir) == ("script", (9000, 9000), "/m")
        assert told.ram_budget_bytes == 30 * GIB
        assert [gpu.reserved_bytes for gpu in told.gpus] == [1 * GIB, 3 * GIB]
        assert [gpu.utilization_permille for gpu in told.gpus] == [900, 500]

    def test_more_reserved_than_there_is_leaves_no_ram(self) -> None:
        assert host("{ram: 2GiB}").ram_budget_bytes == 0

    def test_islands_and_uuids_of_a_block(self) -> None:
        block = f"kind: a10, count: 2, islands: [[1], [0]], uuids: {list(UUIDS)}"
        gpus = host(f"{{ram: 1GiB, gpus: {{{block}}}}}").gpus
        assert [gpu.island for gpu in gpus] == [1, 0]
        assert tuple(gpu.uuid for gpu in gpus) == UUIDS

    def test_minors_are_what_is_written_and_never_guessed(self) -> None:
        block = f"kind: a10, count: 2, uuids: {list(UUIDS)}, minors: [1, 0]"
        gpus_of_block = host(f"{{ram: 1GiB, gpus: {{{block}}}}}").gpus
        assert [gpu.minor for gpu in gpus_of_block] == [1, 0]
        gpus = f"[{{kind: a10, uuid: {UUIDS[0]}, minor: 1}}, {{kind: a10, uuid: {UUIDS[1]}}}]"
        assert [gpu.minor for gpu in host(f"{{ram: 1GiB, gpus: {gpus}}}").gpus] == [1, None]

    def test_a_block_without_islands_is_one_island(self) -> None:
        gpus = host("{ram: 1GiB, gpus: {kind: a10, count: 4}}").gpus
        assert {gpu.island for gpu in gpus} == {0}

    def test_a_kind_of_ones_own(self) -> None:
        loaded = inventory(
            "version: 1\nhosts: {t: {ram: 1GiB, gpus: [{kind: card}]}}\n"
            "gpu_kinds: {card: {memory: 1000MiB, compute: 12.0}}\n"
        )
        kind = loaded.host("t").gpus[0].kind
        assert (kind.compute, kind.cuda_total_bytes) == ((12, 0), 980 * MIB)

    def test_a_built_in_kind_may_be_told_anew(self) -> None:
        loaded = inventory(
            "version: 1\nhosts: {t: {ram: 1GiB, gpus: [{kind: a10}]}}\n"
            "gpu_kinds: {a10: {memory: 20GiB, compute: '8.6', cuda_total: 19GiB, link: nvlink}}\n"
        )
        kind = loaded.host("t").gpus[0].kind
        assert (kind.memory_bytes, kind.cuda_total_bytes, kind.link) == (
            20 * GIB,
            19 * GIB,
            "nvlink",
        )

    @pytest.mark.parametrize(
        ("gpu", "binding", "budget_mib"),
        [
            # A card of 6,144 MiB of which CUDA sees 5,935 and 95 % are 5,836.8.
            ("reserved: 512MiB, utilization: 0.95", "reserved", 6144 - 512),
            ("reserved: 256MiB, utilization: 0.95", "utilization", 5836.8),
            ("reserved: 0B, utilization: 1", "cuda_total", 5935),
            ("reserved: 2GiB, utilization: 0.5", "utilization", 3072),
        ],
    )
    def test_the_smallest_bound_binds_and_no_two_add_up(
        self, gpu: str, binding: str, budget_mib: float
    ) -> None:
        card = host(f"{{ram: 1GiB, gpus: [{{kind: gtx-1660-super, {gpu}}}]}}").gpus[0]
        assert card.binding == binding
        assert card.budget_bytes == int(budget_mib * MIB)

    @pytest.mark.parametrize("version", ["0.10", "0.1", "0.33.0", "9000", "b9000", "0.10.2rc1"])
    def test_a_version_is_kept_as_written(self, version: str) -> None:
        tower = host(f"{{ram: 1GiB, engines: {{vllm: {{version: {version}}}}}}}")
        assert tower.engines["vllm"].version == version

    def test_a_host_says_what_differs_from_the_defaults(self) -> None:
        engines = host(
            "{ram: 1GiB, engines: {llama.cpp: {build: 9100}}}",
            "{engines: {vllm: {version: 0.33.0, image: v:1}, llama.cpp: {version: 9000, bin: /x}}}",
        ).engines
        assert engines["llama.cpp"].version == "9100"
        assert engines["llama.cpp"].bin == "/x"
        assert engines["vllm"].image == "v:1"


class TestRangesAndTheirHosts:
    """A host's own entry stands over its range's, key by key."""

    TEXT = """\
version: 1
defaults: {engines: {vllm: {version: 0.33.0, image: "a/b:v0.33.0"}}}
hosts:
  gpu-[01-03,05]:
    address: "{name}.example"
    labels: {zone: a, tier: prod}
    ram: 64GiB
    engines: {vllm: {bin: /opt/a}}
    gpus: {kind: l4, count: 4}
  gpu-02:
    labels: {zone: b}
    gpus: [{kind: a10}]
    engines: {vllm: {version: 0.31.0}}
"""

    def test_what_it_does_not_say_its_range_says(self) -> None:
        inventory, faults = load_inventory(parse_yaml("i", self.TEXT))
        assert inventory is not None
        assert faults == []
        assert [host.name for host in inventory.hosts] == ["gpu-01", "gpu-02", "gpu-03", "gpu-05"]
        own, other = inventory.host("gpu-02"), inventory.host("gpu-03")
        assert (own.address, own.ram_bytes) == ("gpu-02.example", 64 * GIB)
        assert own.labels == {"zone": "b", "tier": "prod"}
        assert [gpu.kind.name for gpu in own.gpus] == ["a10"]
        assert (own.engines["vllm"].version, own.engines["vllm"].bin) == ("0.31.0", "/opt/a")
        assert own.engines["vllm"].image == "a/b:v0.33.0"
        assert other.labels == {"zone": "a", "tier": "prod"}
        assert (len(other.gpus), other.engines["vllm"].version) == (4, "0.33.0")

    def test_a_fault_of_the_range_is_told_once(self) -> None:
        text = self.TEXT.replace("64GiB", "64GB")
        _, faults = load_inventory(parse_yaml("i", text))
        assert [fault.code for fault in faults] == ["wrong-unit"]

    def test_several_ranges_and_names_in_one_entry(self) -> None:
        text = "version: 1\nhosts: {'r[1-2]-n[1-2], box': {ram: 1GiB}}\n"
        inventory, faults = load_inventory(parse_yaml("i", text))
        assert inventory is not None
        assert faults == []
        names = [host.name for host in inventory.hosts]
        assert names == ["box", "r1-n1", "r1-n2", "r2-n1", "r2-n2"]


class TestSpec:
    """What good services come to."""

    def test_a_service_without_variants_is_its_own(self) -> None:
        chat = service("{model: a/b, context: 4096}")
        assert [v.name for v in chat.variants] == ["default"]
        assert (chat.replicas, chat.priority, chat.optional) == (1, 50, False)
        only = chat.variants[0]
        assert (only.engine, only.context) == ("vllm", 4096)
        assert (only.concurrency, only.offload) == (4, "none")

    def test_a_variant_takes_from_its_service_what_it_does_not_say(self) -> None:
        chat = service(
            "{model: a/b, engine: llama.cpp, context: 4096, concurrency: 8, offload: auto,"
            " llama.cpp: {args: {x: 1, y: 2}}, variants: [{name: a},"
            " {name: b, model: c/d, context: 1024, offload: 0, llama.cpp: {args: {y: 3}}}]}"
        )
        first, second = chat.variants
        assert (first.model, first.context, first.offload) == ("a/b", 4096, "auto")
        assert (second.model, second.context, second.offload) == ("c/d", 1024, 0)
        assert (second.concurrency, second.args) == (8, {"x": 1, "y": 3})

    @pytest.mark.parametrize("model", ["./m.gguf", "org/Repo-GGUF:Q4_K_M", "/srv/M.GGUF"])
    def test_what_is_named_gguf_runs_on_llama_cpp(self, model: str) -> None:
        assert service(f"{{model: '{model}'}}").variants[0].engine == "llama.cpp"

    def test_arguments_keep_their_types(self) -> None:
        args = service("{model: a/b, vllm: {args: {a: 1, b: 1.5, c: on, d: true, e: [1, x]}}}")
        assert args.variants[0].args == {"a": 1, "b": 1.5, "c": "on", "d": True, "e": [1, "x"]}

    def test_rules_are_in_one_order(self) -> None:
        rules = service(
            "{model: a/b, placement: {hosts: {zone: [b, a], name: t}, apart_from: [y, x, y], "
            "gpus: {kinds: [a10], min_compute: 8.0, tensor_parallel: [4, 1]}, spread: host}}"
        ).placement
        assert rules.host_labels == {"zone": ("a", "b"), "name": ("t",)}
        assert rules.apart_from == ("x", "y")
        assert (rules.min_compute, rules.tensor_parallel) == ((8, 0), (1, 4))

    def test_policy(self) -> None:
        policy = spec(
            f"{SERVICES}  a: {{model: a/b}}\npolicy: {{max_moves: 2, freeze: [b, a]}}\n"
        ).policy
        assert (policy.max_moves, policy.freeze) == (2, ("a", "b"))

    def test_a_text_of_any_language(self) -> None:
        assert service('{model: a/b, env: {A: "Grüße, 世界 🚀\\n\\tßtab"}}').env == {
            "A": "Grüße, 世界 🚀\n\tßtab"
        }

    @pytest.mark.parametrize("value", ["risk-assessment-template", "desk-controller-primary"])
    def test_a_word_with_a_key_inside_is_no_secret(self, value: str) -> None:
        assert service(f"{{model: a/b, env: {{A: {value}}}}}").env == {"A": value}

    @pytest.mark.parametrize("name", ["MAX_TOKENS", "TOKENIZERS_PARALLELISM", "KEY"])
    def test_a_variable_that_only_sounds_like_a_secret(self, name: str) -> None:
        assert service(f"{{model: a/b, env: {{{name}: x}}}}").env == {name: "x"}

    @pytest.mark.parametrize("value", ["012", "0x10", "1.10", "on", "+5", "1e999", "22:22", "7"])
    def test_a_variable_gets_what_was_written(self, value: str) -> None:
        assert service(f"{{model: a/b, env: {{A: {value}}}}}").env == {"A": value}
