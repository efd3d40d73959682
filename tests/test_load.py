"""The load pass on bad texts: each fault with its place, its detail and its hint."""

from __future__ import annotations

import pytest

from compiler.diagnostics import CompileError, Diagnostic
from compiler.inputs import Inputs
from compiler.inputs import load as load_all
from compiler.ir.textfile import TextFile
from compiler.load.previous import load_previous
from tests.marked import Fault, faults_of, same_faults, unmarked

HOSTS = "version: 1\nhosts:\n"
SERVICES = "version: 1\nservices:\n"
UUID = "GPU-6f1c2d9e-0000-0000-0000-000000000000"


def check(text: str, *expected: Fault) -> None:
    """The faults of an inventory or, when it has services, of a spec: one at each mark."""
    clean, places = unmarked(text)
    same_faults(faults_of(clean), places, expected)


def check_host(body: str, *expected: Fault) -> None:
    """The faults of an inventory with the host `t`."""
    check(f"{HOSTS}  t: {body}\n", *expected)


def check_service(body: str, *expected: Fault) -> None:
    """The faults of a spec with the service `chat`."""
    check(f"{SERVICES}  chat: {body}\n", *expected)


class TestKeysAndTypes:
    """Keys that are unknown or missing, values of another type or beyond their bounds."""

    def test_an_unknown_key_that_is_close_to_a_known_one(self) -> None:
        check_host(
            "{ram: 1GiB, »gpuss: []}",
            ("unknown-key", "`gpuss` is no key of `hosts.t`", "Did you mean `gpus`?"),
        )

    def test_an_unknown_key_that_is_close_to_none(self) -> None:
        check_host(
            "{ram: 1GiB, »xyz: 1}",
            ("unknown-key", "`xyz` is no key of `hosts.t`", "Known keys: `address`"),
        )

    def test_an_unknown_key_of_a_list_item(self) -> None:
        check_host(
            "{ram: 1GiB, gpus: [{kind: a10, »slot: 1}]}",
            ("unknown-key", "`slot` is no key of `hosts.t.gpus.0`", "Known keys"),
        )

    def test_an_engine_by_another_name(self) -> None:
        check_service(
            "{model: a/b, »llamacpp: {}}",
            ("unknown-key", "`llamacpp`", "Did you mean `llama.cpp`?"),
        )

    def test_a_missing_version(self) -> None:
        check(
            "»hosts: {t: {ram: 1GiB}}\n", ("missing-key", "`the file` needs the key `version`", "")
        )

    def test_another_version_hides_no_other_fault(self) -> None:
        check(
            "version: »2\nhosts: {t: {ram: 1GiB, gpus: [{»kind: rtx-9999x}]}}\n",
            ("wrong-value", "`version`: This must be 1, not `2`", ""),
            ("unknown-gpu-kind", "`rtx-9999x`", "Did you mean"),
        )

    def test_no_hosts(self) -> None:
        check("version: 1\nhosts: »{}\n", ("wrong-value", "at least 1 entry, not 0", ""))

    def test_a_host_that_is_nothing(self) -> None:
        check(f"{HOSTS}  »t:\n", ("wrong-type", "`hosts.t`: This must be a mapping", ""))

    def test_ram_must_be_known(self) -> None:
        check(f"{HOSTS}  »t: {{}}\n", ("missing-key", "Host `t` needs the key `ram`", "64GiB"))

    def test_ram_without_a_value_is_no_ram(self) -> None:
        check(f"{HOSTS}  »t: {{ram: }}\n", ("missing-key", "needs the key `ram`", "64GiB"))

    def test_a_bare_number_is_no_size(self) -> None:
        check_host(
            "{ram: »64}",
            ("wrong-unit", "`hosts.t.ram`: A size is a number with a unit", "Write `ram: 64GiB`."),
        )

    @pytest.mark.parametrize(
        ("host", "hint"),
        [
            ("{ram: »512}", "ram: 512GiB"),
            ("{ram: »65536}", "ram: 65536MiB"),
            ("{ram: 1GiB, gpus: [{kind: a10, reserved: »2}]}", "reserved: 2GiB"),
            ("{ram: 1GiB, gpus: [{kind: a10, reserved: »512}]}", "reserved: 512MiB"),
            ("{ram: 1GiB, ram_reserved: »2048}", "ram_reserved: 2048MiB"),
        ],
    )
    def test_a_bare_number_is_answered_in_the_unit_that_is_likely(
        self, host: str, hint: str
    ) -> None:
        check_host(host, ("wrong-unit", "A size is a number with a unit", f"Write `{hint}`."))

    def test_a_decimal_unit_is_no_size(self) -> None:
        check_host("{ram: »64GB}", ("wrong-unit", "`64GB` is not a size", "Write `ram: 64GiB`."))

    def test_a_size_beyond_any_machine(self) -> None:
        check_host("{ram: »99999999TiB}", ("wrong-value", "at most `1024TiB`", ""))

    @pytest.mark.parametrize("share", ["1.5", "-0.1", "0.0001", "1e3"])
    def test_a_share_out_of_bounds(self, share: str) -> None:
        check_host(
            f"{{ram: 1GiB, gpus: [{{kind: a10, utilization: »{share}}}]}}",
            ("wrong-value", f"`{share}` is not a share between 0 and 1", ""),
        )

    @pytest.mark.parametrize("share", [".inf", "950%", "true", "'x'"])
    def test_a_share_that_is_no_number(self, share: str) -> None:
        check_host(
            f"{{ram: 1GiB, gpus: [{{kind: a10, utilization: »{share}}}]}}",
            ("wrong-type", "A share is a number between 0 and 1", ""),
        )

    @pytest.mark.parametrize("ports", ["22-", "9000-8000", "0-10", "8000-70000", "[8000]", "-1"])
    def test_ports_that_are_no_range(self, ports: str) -> None:
        check_host(
            f"{{ram: 1GiB, ports: »{ports}}}",
            ("wrong-value", "Ports are written as `8000-8999`", ""),
        )

    @pytest.mark.parametrize("compute", ["compute", "8.9.1", "'8.٩'"])
    def test_a_compute_capability_that_is_none(self, compute: str) -> None:
        check(
            f"version: 1\nhosts: {{t: {{ram: 1GiB}}}}\n"
            f"gpu_kinds: {{card: {{memory: 8GiB, compute: »{compute}}}}}\n",
            ("wrong-value", "A compute capability is written as `8.9`", ""),
        )

    def test_a_target_that_there_is_not(self) -> None:
        check_host(
            "{ram: 1GiB, target: »k8s}",
            (
                "wrong-value",
                "This must be 'systemd', 'compose', 'quadlet' or 'script', not `k8s`",
                "",
            ),
        )

    def test_a_number_where_a_text_is_wanted_is_shown_as_written(self) -> None:
        check_host(
            "{ram: 1GiB, labels: {rack: »1.10}}",
            ("wrong-type", "a text, in quotes if need be, not `1.10`", ""),
        )

    @pytest.mark.parametrize("context", ["0k", "0x10", "1e3", "true"])
    def test_tokens_are_whole_numbers(self, context: str) -> None:
        check_service(
            f"{{model: a/b, context: »{context}}}",
            ("wrong-type", "This must be a valid integer", ""),
        )

    def test_a_number_in_quotes_is_a_text(self) -> None:
        check_service(
            "{model: a/b, context: »'8192'}",
            ("wrong-type", "This must be a number, without quotes", "Write `context: 8192`."),
        )

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("context", "0"),
            ("context", "10000001"),
            ("concurrency", "0"),
            ("kv_tokens", "-1"),
            ("replicas", "0"),
            ("replicas", "1001"),
            ("priority", "-1"),
            ("priority", "1001"),
            ("offload", "most"),
            ("task", "talk"),
            ("engine", "sglang"),
        ],
    )
    def test_values_out_of_bounds(self, key: str, value: str) -> None:
        check_service(
            f"{{model: a/b, {key}: »{value}}}",
            ("wrong-value", f"`services.chat.{key}`: This must be", ""),
        )

    def test_yes_is_a_text_and_no_truth_value(self) -> None:
        check_service(
            "{model: a/b, optional: »yes}",
            ("wrong-type", "This must be a valid boolean, not `yes`", "Write `optional: true`."),
        )

    def test_a_service_name_that_no_unit_could_have(self) -> None:
        check(
            f"{SERVICES}  »Chat_Bot: {{model: a/b}}\n",
            ("wrong-value", "A name is lower-case letters", ""),
        )

    def test_one_value_where_a_list_is_wanted(self) -> None:
        check_service(
            "{model: a/b, placement: {gpus: {kinds: »a10}}}",
            ("wrong-type", "This must be a list, not `a10`", "Write `kinds: [a10]`."),
        )

    def test_an_empty_list_selects_nothing(self) -> None:
        check_service(
            "{model: a/b, placement: {gpus: {kinds: »[]}}}",
            ("wrong-value", "at least 1 entry, not 0", ""),
        )

    def test_a_pin_without_a_host(self) -> None:
        check_service(
            "{model: a/b, placement: {»pin: {gpus: [0]}}}",
            ("missing-key", "`services.chat.placement.pin` needs the key `host`", ""),
        )

    def test_a_service_without_a_model(self) -> None:
        check(
            f"{SERVICES}  »chat: {{replicas: 1}}\n",
            ("missing-key", "Service `chat` needs the key `model`", "org/repo"),
        )

    def test_a_variant_without_a_model(self) -> None:
        check_service(
            "{variants: [{name: a, model: a/b}, »{name: b}]}",
            ("missing-key", "Variant `b` of service `chat` needs the key `model`", "org/repo"),
        )

    def test_a_model_at_fault_is_not_also_missing(self) -> None:
        check_service("{model: »5}", ("wrong-type", "services.chat.model", ""))

    def test_the_model_of_a_variant_at_fault_is_not_also_missing(self) -> None:
        check_service(
            "{variants: [{name: a, model: »5}]}",
            ("wrong-type", "services.chat.variants.0.model", ""),
        )

    def test_variants_at_fault_are_not_also_missing(self) -> None:
        check_service(
            "{variants: [»{model: a/b}]}",
            ("missing-key", "`services.chat.variants.0` needs the key `name`", ""),
        )

    @pytest.mark.parametrize("model", ['" a/b"', '"a\\nb"', '""'])
    def test_a_model_that_is_no_source(self, model: str) -> None:
        check_service(
            f"{{model: »{model}}}", ("wrong-value", "This must be `org/repo` or a path", "")
        )

    @pytest.mark.parametrize("name", ["max-model-len", "--port", "Foo", "a b"])
    def test_an_argument_by_another_spelling(self, name: str) -> None:
        check_service(
            f"{{model: a/b, vllm: {{args: {{»{name}: 3}}}}}}",
            ("wrong-value", "as `max_model_len`", ""),
        )

    def test_an_argument_without_a_value(self) -> None:
        check_service(
            "{model: a/b, vllm: {args: {enforce_eager: »~}}}",
            ("wrong-type", "a text, number, truth value, list or map", ""),
        )

    def test_fewer_than_no_moves(self) -> None:
        check_service(
            "{model: a/b}\npolicy: {max_moves: »-1}",
            ("wrong-value", "greater than or equal to 0", ""),
        )


class TestValuesToWrite:
    """A value that people write is answered with the value that it stands for."""

    @pytest.mark.parametrize(
        ("entry", "code", "answer"),
        [
            ("{ram: »64000MB}", "wrong-unit", "ram: 64000MiB"),
            ("{ram: »1.5TB}", "wrong-unit", "ram: 1536GiB"),
            ("{ram: 1GiB, ram_reserved: »8g}", "wrong-unit", "ram_reserved: 8GiB"),
            ("{ram: 1GiB, target: »docker}", "wrong-value", "target: compose"),
            ("{ram: 1GiB, ports: »8000:8100}", "wrong-value", "ports: 8000-8100"),
            (
                "{ram: 1GiB, gpus: [{kind: a10, utilization: »10%}]}",
                "wrong-type",
                "utilization: 0.1",
            ),
            (
                "{ram: 1GiB, gpus: [{kind: a10, utilization: »90}]}",
                "wrong-value",
                "utilization: 0.9",
            ),
        ],
    )
    def test_of_a_host(self, entry: str, code: str, answer: str) -> None:
        check_host(entry, (code, "", f"Write `{answer}`."))

    @pytest.mark.parametrize(
        ("written", "code", "answer"),
        [
            ("context: »16k", "wrong-type", "context: 16384"),
            ("context: »'32,768 tokens'", "wrong-type", "context: 32768"),
            ("task: »chat", "wrong-value", "task: generate"),
            ("task: »embeddings", "wrong-value", "task: embed"),
            ("task: »reranker", "wrong-value", "task: rerank"),
            ("engine: »llamacpp", "wrong-value", "engine: llama.cpp"),
            ("offload: »-1", "wrong-value", "offload: none"),
            ("placement: {spread: »hosts}", "wrong-value", "spread: host"),
            ("placement: {gpus: {min_compute: »sm_90}}", "wrong-value", "min_compute: 9.0"),
            ("placement: {gpus: {tensor_parallel: »2}}", "wrong-type", "tensor_parallel: [2]"),
            ("secrets: »HF_TOKEN", "wrong-type", "secrets: [HF_TOKEN]"),
        ],
    )
    def test_of_a_service(self, written: str, code: str, answer: str) -> None:
        check_service(f"{{model: a/b, {written}}}", (code, "", f"Write `{answer}`."))


class TestValuesThatNoHostCanUse:
    """Devices, addresses with ports, and images that no registry has."""

    @pytest.mark.parametrize(
        "image",
        ["file:///etc/passwd", "docker://a/b", "http://x/y", "UPPER/Case", "a//b", "a/b:", "a@b"],
    )
    def test_an_image(self, image: str) -> None:
        check_host(
            f"{{ram: 1GiB, engines: {{vllm: {{version: 0.33.0, image: »'{image}'}}}}}}",
            ("wrong-value", "An image is written as `registry/name:tag`", ""),
        )

    @pytest.mark.parametrize("path", ["/dev/zero", "/proc/self/exe", "/sys/x", "/", "//", "/dev"])
    def test_a_program_and_a_folder(self, path: str) -> None:
        check_host(
            f"{{ram: 1GiB, engines: {{vllm: {{version: 0.33.0, bin: »'{path}'}}}}}}",
            ("wrong-value", "This must be a", ""),
        )
        check_host(f"{{ram: 1GiB, models_dir: »'{path}'}}", ("wrong-value", "This must be a", ""))

    @pytest.mark.parametrize(
        "address", ["1:30", "10.0.0.1:22", "root@h", "1.2.3", "999.1.1.1", "a b", "http://h", ""]
    )
    def test_an_address(self, address: str) -> None:
        check_host(
            f"{{ram: 1GiB, address: »'{address}'}}",
            ("wrong-value", "This must be a host name or an IP address", ""),
        )


class TestNames:
    """Hosts, GPUs and variants that collide, and ranges that cannot be expanded."""

    @pytest.mark.parametrize(
        ("pattern", "reason"),
        [
            ("gpu-[3-1]", "The range `3-1` runs backwards"),
            ("gpu-[1-20000]", "has more than 10,000 hosts"),
            ("gpu-[1-200][1-200]", "has more than 10,000 hosts"),
            ("gpu-[1-2,2]", "gives `gpu-2` twice"),
            ("gpu-[1-2,]", "is no host name and no range"),
            ("gpu-1,,gpu-2", "is no host name and no range"),
            ("gpu-[]", "is no host name and no range"),
            ("gpu-[1-]", "is no host name and no range"),
            ("gpu-]1-2[", "is no host name and no range"),
            ("gpu_1", "is no host name and no range"),
            ("-gpu", "is no host name and no range"),
            ("..", "is no host name and no range"),
            ("a/b", "is no host name and no range"),
            ("", "is no host name and no range"),
            (".".join(["a" * 60] * 5), "is no host name and no range"),
            ("plan.json", "`plan.json` is the name of a file in compiled/"),
            ("PLAN.md", "`PLAN.md` is the name of a file in compiled/"),
        ],
    )
    def test_a_name_that_no_host_can_have(self, pattern: str, reason: str) -> None:
        check(f'{HOSTS}  »"{pattern}": {{ram: 1GiB}}\n', ("bad-range", reason, "`gpu-[01-08]`"))

    def test_hosts_that_two_entries_give_are_told_once_for_each_pair(self) -> None:
        check(
            f"{HOSTS}  gpu-[1-9]: {{ram: 1GiB}}\n  »gpu-[1-2]: {{ram: 1GiB}}\n"
            "  »gpu-[3-5]: {ram: 1GiB}\n",
            ("host-collision", "`gpu-[1-2]` and `gpu-[1-9]` both give the host `gpu-1`", "Take"),
            ("host-collision", "`gpu-[3-5]` and `gpu-[1-9]` both give the host `gpu-3`", "Take"),
        )

    def test_names_that_differ_in_case_only_are_one_host(self) -> None:
        check(
            f"{HOSTS}  Tower: {{ram: 1GiB}}\n  »tower: {{ram: 1GiB}}\n",
            ("host-collision", "`tower` and `Tower`", "Take the name out"),
        )

    def test_two_gpus_of_one_uuid(self) -> None:
        first = f"{{kind: a10, uuid: {UUID}}}"
        check_host(
            f"{{ram: 1GiB, gpus: [{first}, »{first}]}}",
            ("name-collision", f"`t/1` has the uuid of `t/0`, `{UUID}`", "nvidia-smi -L"),
        )

    def test_a_range_of_hosts_cannot_share_a_uuid(self) -> None:
        check(
            f"{HOSTS}  t[1-4]: {{ram: 1GiB, »gpus: {{kind: a10, count: 1, uuids: [{UUID}]}}}}\n",
            ("name-collision", "`t2/0` has the uuid of `t1/0`", "a range cannot share it"),
        )

    def test_two_variants_of_one_name(self) -> None:
        check_service(
            "{model: a/b, variants: [{name: x}, {name: »x}]}",
            ("name-collision", "two variants named `x`", "its own name"),
        )


class TestGpus:
    """Kinds, islands, uuids and budgets that cannot be."""

    def test_an_unknown_kind_that_is_close_to_a_known_one(self) -> None:
        check_host(
            "{ram: 1GiB, gpus: {»kind: rtx-3009, count: 2}}",
            (
                "unknown-gpu-kind",
                "`rtx-3009`, which is neither in the built-in catalog",
                "Did you mean `rtx-3090`?",
            ),
        )

    def test_an_unknown_kind_that_is_close_to_none(self) -> None:
        check_host(
            "{ram: 1GiB, gpus: [{kind: a10}, {»kind: voodoo}]}",
            ("unknown-gpu-kind", "`voodoo`", "Another one is described under `gpu_kinds`"),
        )

    @pytest.mark.parametrize(
        "islands", ["[[0, 1], [1, 2]]", "[[0, 1]]", "[[0, 1, 2, 3, 4]]", "[[-1, 0, 1, 2]]", "[]"]
    )
    def test_islands_that_name_a_gpu_twice_or_not(self, islands: str) -> None:
        check_host(
            f"{{ram: 1GiB, gpus: {{kind: a10, count: 4, »islands: {islands}}}}}",
            ("wrong-value", "islands must name each GPU from 0 to 3 once", "[[0, 1, 2, 3]"),
        )

    def test_fewer_uuids_than_gpus(self) -> None:
        check_host(
            f"{{ram: 1GiB, gpus: {{kind: a10, count: 2, »uuids: [{UUID}]}}}}",
            ("wrong-value", "Host `t` has 2 GPUs and 1 uuids", "one uuid for each GPU"),
        )

    def test_fewer_minors_than_gpus(self) -> None:
        check_host(
            f"{{ram: 1GiB, gpus: {{kind: a10, count: 1, uuids: [{UUID}], »minors: [0, 1]}}}}",
            ("wrong-value", "Host `t` has 1 GPUs and 2 minors", "one minor for each GPU"),
        )

    def test_two_gpus_of_one_minor(self) -> None:
        check_host(
            "{ram: 1GiB, gpus: ["
            "{kind: a10, uuid: GPU-00000001-0000-0000-0000-000000000000, minor: 3}, "
            "»{kind: a10, uuid: GPU-00000002-0000-0000-0000-000000000000, minor: 3}]}",
            ("name-collision", "`t/1` has the minor of `t/0`, 3", "grep -E 'Minor|UUID'"),
        )

    @pytest.mark.parametrize(
        ("first", "second"),
        [("", ", minor: 0"), (", uuid: GPU-00000001-0000-0000-0000-000000000000, minor: 1", "")],
    )
    def test_a_minor_that_is_the_place_of_another(self, first: str, second: str) -> None:
        check_host(
            f"{{ram: 1GiB, gpus: [{{kind: a10{first}}}, »{{kind: a10{second}}}]}}",
            ("name-collision", "`t/1` has the minor of `t/0`", "grep -E 'Minor|UUID'"),
        )

    def test_a_key_of_the_other_form(self) -> None:
        check_host(
            "{ram: 1GiB, gpus: {kind: a10, count: 2, »minor: 1}}",
            ("unknown-key", "`minor` is no key", "Did you mean `minors`?"),
        )

    def test_a_minor_of_a_slice(self) -> None:
        entry = "kind: a100-80gb-1g.10gb, uuid: MIG-00000001-0000-0000-0000-000000000000, minor: 0"
        check_host(
            f"{{ram: 1GiB, gpus: [»{{{entry}}}]}}",
            ("wrong-value", "GPU 0 of host `t` is a MIG slice", "Leave out the minor"),
        )

    @pytest.mark.parametrize("minor", ["-1", "254"])
    def test_a_minor_that_no_gpu_has(self, minor: str) -> None:
        check_host(
            f"{{ram: 1GiB, gpus: [{{kind: a10, uuid: {UUID}, minor: »{minor}}}]}}",
            ("wrong-value", "This must be", ""),
        )

    def test_a_uuid_that_is_none(self) -> None:
        check_host(
            "{ram: 1GiB, gpus: [{kind: a10, uuid: »0}, {kind: a10, uuid: »x}]}",
            ("wrong-type", "This must be a text, in quotes", ""),
            ("wrong-value", "A GPU's uuid is written whole", ""),
        )

    @pytest.mark.parametrize("count", ["0", "65"])
    def test_a_count_that_no_host_has(self, count: str) -> None:
        check_host(
            f"{{ram: 1GiB, gpus: {{kind: a10, count: »{count}}}}}",
            ("wrong-value", f"not `{count}`", ""),
        )

    def test_what_is_wrong_with_a_block_is_told_once(self) -> None:
        check_host(
            "{ram: 1GiB, »gpus: {kind: a10, count: 8, reserved: 30GiB}}",
            ("bad-budget", "of which 30GiB are reserved and a share of 0.95 is ours", "Lower"),
        )

    def test_a_share_of_nothing(self) -> None:
        check_host(
            "{ram: 1GiB, gpus: [»{kind: a10, utilization: 0}]}",
            ("bad-budget", "a share of 0 is ours", "raise `utilization`"),
        )

    def test_a_kind_whose_cuda_total_is_larger_than_its_memory(self) -> None:
        check(
            "version: 1\nhosts: {t: {ram: 1GiB}}\n"
            "gpu_kinds: {card: {memory: 8GiB, compute: 8.9, »cuda_total: 9GiB}}\n",
            ("wrong-value", "the CUDA total is larger than the memory", "nvidia-smi"),
        )


class TestEngines:
    """Programs, images and versions of the engines."""

    @pytest.mark.parametrize(
        "program", ["vllm", "./vllm", "/opt/my vllm", "'/x\"y'", "/x;y", "/x$y", "'/x\\ny'", "''"]
    )
    def test_a_program_that_no_target_can_name_safely(self, program: str) -> None:
        check_host(
            f"{{ram: 1GiB, engines: {{vllm: {{version: 0.33.0, bin: »{program}}}}}}}",
            ("wrong-value", "This must be an absolute path", ""),
        )

    @pytest.mark.parametrize("image", ["VLLM:latest", "a b", "'a;b'", "$(x)", "-v"])
    def test_an_image_that_is_none(self, image: str) -> None:
        check_host(
            f"{{ram: 1GiB, engines: {{vllm: {{version: 0.33.0, image: »{image}}}}}}}",
            ("wrong-value", "An image is written as", ""),
        )

    def test_an_engine_without_a_version(self) -> None:
        check_host(
            "{ram: 1GiB, engines: {»vllm: {bin: /opt/vllm}}}",
            ("missing-key", "Engine `vllm` of host `t` needs its version", "0.33.0"),
        )

    def test_a_default_engine_without_a_version_is_told_once(self) -> None:
        check(
            "version: 1\ndefaults: {engines: {»llama.cpp: {}}}\n"
            "hosts: {a: {ram: 1GiB}, b: {ram: 1GiB}}\n",
            ("missing-key", "Engine `llama.cpp` of the defaults needs its version", "build: "),
        )

    def test_a_version_at_fault_is_not_also_missing(self) -> None:
        check_host(
            "{ram: 1GiB, engines: {vllm: {version: »true}}}",
            ("wrong-type", "This must be a version", ""),
        )


class TestUnused:
    """What only another engine than the one that runs would read."""

    def test_arguments_of_a_service(self) -> None:
        hint = "Take it out, or write `engine: llama.cpp`."
        check_service(
            "{model: a/b, »llama.cpp: {args: {mlock: true, flash_attn: on}}}",
            (
                "unused-setting",
                "Only `llama.cpp` reads `flash_attn`, `mlock`, and service `chat` runs on `vllm`.",
                hint,
            ),
        )

    def test_offload_of_a_service(self) -> None:
        check_service("{model: a/b, »offload: auto}", ("unused-setting", "`offload`", "llama.cpp"))

    def test_arguments_of_a_variant(self) -> None:
        check_service(
            "{vllm: {args: {seed: 1}}, offload: auto, variants: ["
            "{name: a, model: a/b, »llama.cpp: {args: {mlock: true}}}, "
            "{name: b, model: a/b-GGUF, »vllm: {args: {seed: 2}}}]}",
            ("unused-setting", "`mlock`, and variant `a` of service `chat` runs on `vllm`", "out"),
            ("unused-setting", "`seed`, and variant `b` of service `chat` runs on", "out"),
        )

    def test_what_some_variant_reads_or_what_says_nothing(self) -> None:
        check_service("{model: a/b, offload: none, llama.cpp: {}, vllm: {args: {seed: 1}}}")
        check_service("{model: a/b-GGUF, offload: auto, vllm: {args: {}}}")
        check_service("{model: a/b, offload: cpu}")

    def test_beside_an_error_nothing_is_said(self) -> None:
        check_service(
            "{model: a/b, engine: »lama.cpp, offload: auto}",
            ("wrong-value", "must be 'vllm' or 'llama.cpp'", ""),
        )


class TestTexts:
    """Texts that cannot be carried safely, and secrets that must not be written down."""

    @pytest.mark.parametrize(
        "escape",
        ["\\0", "\\x07", "\\x1b", "\\r", "\\x7f", "\\x9b", "\\u202e", "\\u2066", "\\u2028"],
    )
    def test_characters_that_change_how_a_text_reads(self, escape: str) -> None:
        check_service(
            f'{{model: a/b, env: {{A: »"x{escape}y"}}}}',
            ("unsafe-text", "It holds the character U+", ""),
        )

    def test_a_bidirectional_mark_in_a_label(self) -> None:
        check_host(
            '{ram: 1GiB, labels: {zone: »"a\\u202eb"}}',
            ("unsafe-text", "It holds the character U+202E", ""),
        )

    def test_a_text_longer_than_an_argument_may_be(self) -> None:
        check_service(
            f"{{model: a/b, env: {{A: »{'x' * 33_000}}}}}",
            ("unsafe-text", "It is longer than 32 KiB.", ""),
        )

    @pytest.mark.parametrize("name", ["A B", "1A", "A-B", "A=B", "É", "''"])
    def test_a_variable_that_no_environment_has(self, name: str) -> None:
        check_service(
            f"{{model: a/b, env: {{»{name}: x}}}}",
            ("wrong-value", "An environment variable is letters, digits and underscores", ""),
        )

    def test_a_truth_value_in_the_environment(self) -> None:
        check_service(
            "{model: a/b, env: {A: »true}}",
            ("wrong-type", "Put the value in quotes: a program reads text, not `true`", ""),
        )

    @pytest.mark.parametrize("name", ["HF_TOKEN", "VLLM_API_KEY", "db_password", "SECRET"])
    def test_a_variable_that_holds_a_secret_by_its_name(self, name: str) -> None:
        check_service(
            f"{{model: a/b, env: {{»{name}: x}}}}",
            ("secret-in-spec", f"gives `{name}` a value", f"`secrets: [{name}]`"),
        )

    @pytest.mark.parametrize("key", ["hf_abcdefghijklmnop", "sk-abcdefghijklmnop"])
    def test_a_value_that_is_a_secret_by_its_looks_is_not_shown(self, key: str) -> None:
        check_service(
            f"{{model: a/b, env: {{A: »{key}}}}}",
            ("secret-in-spec", "`services.chat.env.A`: Name it under `secrets` instead", ""),
        )
        assert (
            key not in faults_of(f"{SERVICES}  chat: {{model: a/b, env: {{A: {key}}}}}\n")[0].detail
        )

    def test_a_secret_among_the_arguments(self) -> None:
        check_service(
            "{model: a/b, vllm: {args: {x: »[{y: sk-abcdefghijklmnop}]}}}",
            ("secret-in-spec", "`services.chat.vllm.args.x`", ""),
        )


class TestPrevious:
    """A previous plan that is none."""

    @pytest.mark.parametrize(
        ("text", "detail"),
        [
            ("", "This is not valid JSON"),
            ('{"version": 1,', "This is not valid JSON"),
            ("[" * 100_000, "This is nested too deeply"),
            ('{"version": ' + "1" * 5000 + "}", "This is not valid JSON"),
            ("[]", "It has the schema version None"),
            ('{"version": 99}', "It has the schema version 99"),
            ('{"version": 1}', "`inputs`: Field required"),
        ],
    )
    def test_a_damaged_plan_is_told_with_ways_out(self, text: str, detail: str) -> None:
        faults: list[Diagnostic] = []
        assert load_previous(TextFile(path="plan.json", text=text), faults) is None
        assert [fault.code for fault in faults] == ["previous-corrupt"]
        assert detail in faults[0].detail
        assert "--previous none" in faults[0].hints[0]


def test_the_faults_of_all_files_are_told_in_one_run() -> None:
    inputs = Inputs(
        inventory=TextFile(path="inventory.yaml", text=f"{HOSTS}  t: {{ram: 64GB, gpu: []}}\n"),
        spec=TextFile(
            path="models.yaml", text=f"{SERVICES}  a: {{modl: a/b}}\n  b: {{model: 1}}\n"
        ),
        lock=TextFile(path="modelc.lock", text="{}"),
        previous=TextFile(path="plan.json", text="{"),
    )
    with pytest.raises(CompileError) as error:
        load_all(inputs)
    found = {(d.location.path if d.location else "", d.code) for d in error.value.diagnostics}
    assert found >= {
        ("inventory.yaml", "wrong-unit"),
        ("inventory.yaml", "unknown-key"),
        ("models.yaml", "unknown-key"),
        ("models.yaml", "missing-key"),
        ("models.yaml", "wrong-type"),
        ("modelc.lock", "lock-corrupt"),
        ("plan.json", "previous-corrupt"),
    }
