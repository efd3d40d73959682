"""The name that somebody may have meant, or none: no guess is better than a misleading one."""

import pytest

from compiler.diagnostics import closest
from compiler.engines.llamacpp.flags import ARGUMENTS
from compiler.ir.catalog import builtin_kinds


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
