"""The name that somebody may have meant, or none: no guess is better than a misleading one."""

import pytest

from compiler.diagnostics import closest
from compiler.engines.llamacpp.flags.rules import ARGUMENTS
from compiler.ir.catalog import builtin_kinds
from compiler.ir.kind_names import ONLY_NVIDIA, kind_hints


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("rtx-3060-12gb", "rtx-3060"),
        ("rtx-3009", "rtx-3090"),
        ("rtx4090", "rtx-4090"),
        ("4090", "rtx-4090"),
        ("a100-80gb", "a100-sxm-80gb"),
        ("nvidia-l40s", "l40s"),
        ("foo", None),
        ("", None),
    ],
)
def test_kinds_of_gpus(name: str, meant: str | None) -> None:
    assert closest(name, builtin_kinds()) == meant


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("flash_atn", "flash_attn"),
        ("cache_type", "cache_type_k"),
        ("rope_scal", "rope_scale"),
        ("grp_attn_n", None),
        ("temperature_of_the_room", None),
    ],
)
def test_flags(name: str, meant: str | None) -> None:
    assert closest(name, ARGUMENTS) == meant


def test_whole_words_come_before_names_that_are_spelt_alike() -> None:
    assert closest("chat-large", ["chat", "chart-large"]) == "chat"
    assert closest("Chat", ["chat"]) == "chat"


def test_letters_in_another_order() -> None:
    assert closest("rma", ["gpus", "ram", "range"]) == "ram"


def test_nothing_is_known() -> None:
    assert closest("chat", []) is None


@pytest.mark.parametrize(
    ("name", "forms"),
    [
        ("a100", ["a100-pcie-40gb", "a100-pcie-80gb", "a100-sxm-40gb", "a100-sxm-80gb"]),
        ("A100-80G", ["a100-pcie-80gb", "a100-sxm-80gb"]),
        ("h100", ["h100-nvl", "h100-pcie", "h100-sxm"]),
        ("NVIDIA H200", ["h200-nvl", "h200-sxm"]),
        ("rtx-4090d", ["rtx-4090-d", "rtx-4090-d-48gb"]),
        ("4090-48gb", ["rtx-4090-48gb", "rtx-4090-d-48gb"]),
        ("v100", ["v100-16gb", "v100-32gb"]),
        ("rtx4080super", []),
    ],
)
def test_all_forms_of_a_card_are_named(name: str, forms: list[str]) -> None:
    (hint,) = kind_hints(name, builtin_kinds())
    listed = ", ".join(f"`{form}`" for form in forms)
    assert not forms or hint == f"Did you mean one of {listed}?"


def test_the_forms_of_4090() -> None:
    (hint,) = kind_hints("4090", builtin_kinds())
    for form in ("rtx-4090", "rtx-4090-d", "rtx-4090-48gb", "rtx-4090-laptop"):
        assert f"`{form}`" in hint


@pytest.mark.parametrize(
    "name",
    [
        *("mi300x", "mi50", "amd-mi250", "rx-7900-xtx", "rx7900xtx", "strix-halo", "radeon-780m"),
        *(
            "w7900",
            "arc-b580",
            "a770",
            "intel-arc-a380",
            "gaudi2",
            "m3-max",
            "m4",
            "apple-m2-ultra",
        ),
        *("ascend-910b", "910b", "tpu-v5e", "mtt-s4000", "gfx1151", "8060s"),
    ],
)
def test_gpus_of_others_are_not_served(name: str) -> None:
    assert kind_hints(name, builtin_kinds()) == (ONLY_NVIDIA,)


@pytest.mark.parametrize("name", ["gtx-850m", "m40", "k80", "gtx-960m", "rtx-9090", "x"])
def test_others_are_not_taken_for_those(name: str) -> None:
    assert ONLY_NVIDIA not in kind_hints(name, builtin_kinds())


@pytest.mark.parametrize("kind", builtin_kinds())
def test_no_kind_of_ours_is_another_makers(kind: str) -> None:
    from compiler.ir.kind_names import is_of_others

    assert not is_of_others(kind)
