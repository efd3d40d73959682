"""Whatever text is quoted for a dialect, the dialect's own reader gives back that text."""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from compiler.emit.quoting import (
    MAX_WORD_BYTES,
    compose_scalar,
    env_name,
    plain_path,
    quadlet_environment,
    quadlet_exec_word,
    sh_word,
    systemd_env_file_line,
    systemd_environment,
    systemd_exec_word,
    unit_line,
)
from tests.generators.plans import HOSTILE
from tests.property.quoting_strategies import LONG, quadlet_texts, systemd_texts, texts
from tests.requires import require_tool
from tests.tools.quadlet_reader import generate, read_podman, variables
from tests.tools.systemd_reader import read_env_file, read_service

# Each example starts a program, so few of them with many texts.
few = settings(max_examples=25)
many_texts = st.lists(texts, min_size=1, max_size=20)
many_systemd_texts = st.lists(systemd_texts, min_size=1, max_size=20)


@few
@given(many_texts)
@example(list(HOSTILE))
def test_bash_reads_back_every_word(words: list[str]) -> None:
    assert shell_words("bash", words) == words


@few
@given(many_texts)
@example(list(HOSTILE))
def test_a_posix_shell_reads_back_every_word(words: list[str]) -> None:
    assert shell_words("sh", words) == words


@given(many_texts)
def test_shlex_reads_back_every_word(words: list[str]) -> None:
    assert shlex.split(" ".join(map(sh_word, words))) == words


@few
@given(many_systemd_texts)
@example(list(HOSTILE))
def test_systemd_reads_back_every_argument(words: list[str]) -> None:
    assert systemd_words(words) == words


@few
@given(many_systemd_texts)
@example(list(HOSTILE))
def test_systemd_reads_back_every_variable(values: list[str]) -> None:
    assert systemd_values(values) == values


@few
@given(many_systemd_texts)
@example(list(HOSTILE))
def test_systemd_reads_back_every_line_of_an_environment_file(values: list[str]) -> None:
    assert env_file_values(values) == values


@few
@given(st.lists(quadlet_texts.filter(lambda text: text not in ("", ";")), min_size=1, max_size=20))
@example(list(filter(None, HOSTILE)))
def test_an_engine_in_podman_gets_back_every_argument(words: list[str]) -> None:
    assert podman_words(words) == words


@few
@given(st.lists(quadlet_texts, min_size=1, max_size=20))
@example(list(HOSTILE))
def test_podman_reads_back_every_variable(values: list[str]) -> None:
    assert podman_values(values) == values


@given(many_texts)
@example(list(HOSTILE))
def test_compose_reads_back_every_value(values: list[str]) -> None:
    assert compose_values(values) == values


# Apart from the others: what a failure prints would be longer than what anybody reads.
@pytest.mark.parametrize(
    "reader",
    ["bash", "sh", "exec", "environment", "env file", "podman", "podman's variables", "compose"],
)
def test_a_text_of_64_kib_comes_back(reader: str) -> None:
    readers: dict[str, Callable[[list[str]], list[str]]] = {
        "bash": lambda words: shell_words("bash", words),
        "sh": lambda words: shell_words("sh", words),
        "exec": systemd_words,
        "environment": systemd_values,
        "env file": env_file_values,
        "podman": podman_words,
        "podman's variables": podman_values,
        "compose": compose_values,
    }
    read = readers[reader]([LONG, "next"])
    is_same = read == [LONG, "next"]
    assert is_same


def test_the_systemd_that_judges_here_sees_a_difference() -> None:
    """The reader of these tests is no echo: what is not quoted comes back changed."""
    assert read_service('ExecStart=/bin/echo %% "a\\tb" c\\x41 $$').argv == [
        "/bin/echo",
        "%",
        "a\tb",
        "cA",
        "$$",
    ]


@given(texts)
def test_a_compose_value_hides_nothing_from_the_reviewer(text: str) -> None:
    assert not re.search(
        "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ufeff]", compose_scalar(text)
    )


@pytest.mark.parametrize(
    "quote",
    [
        systemd_exec_word,
        lambda text: systemd_environment("V", text),
        lambda text: systemd_env_file_line("V", text),
        quadlet_exec_word,
        lambda text: quadlet_environment("V", text),
        compose_scalar,
        sh_word,
    ],
)
@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * (MAX_WORD_BYTES + 1)])
def test_what_no_process_can_be_given_is_refused(quote: Callable[[str], str], text: str) -> None:
    with pytest.raises(ValueError, match=r"NUL|surrogate|128 KiB"):
        quote(text)


@pytest.mark.parametrize("character", ["\ufdd0", "\uffff", "\U0010fffe"])
def test_what_systemd_takes_for_invalid_is_refused_for_it_alone(character: str) -> None:
    for quote in (systemd_exec_word, lambda text: systemd_env_file_line("V", text)):
        with pytest.raises(ValueError, match="no character"):
            quote(character)
    assert compose_scalar(character)
    assert sh_word(character)


@pytest.mark.parametrize(("text", "written"), [("", "first"), (";", "first ; last")])
def test_what_podmans_generator_loses_is_refused(text: str, written: str, tmp_path: Path) -> None:
    """A lone `;` without its quotes separates two commands of systemd.

    Once the generator of a newer podman gives these back, they need not be refused.
    """
    lines = ["[Container]", "Image=image", f'Exec="first" "{text}" "last"']
    (tmp_path / "test.container").write_text("\n".join(lines))
    assert f" image {written}\n" in generate(tmp_path).services["test.service"]
    with pytest.raises(ValueError, match="lost"):
        quadlet_exec_word(text)


def test_what_podmans_generator_breaks_is_refused_for_it_alone() -> None:
    for quote in (quadlet_exec_word, lambda text: quadlet_environment("V", text)):
        with pytest.raises(ValueError, match=r"U\+0080"):
            quote("a\x80b")
    assert systemd_exec_word("a\x80b")


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A=B", "A B", "A\n", "Ä", "$A"])
def test_a_bad_name_of_a_variable_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="environment variable"):
        env_name(name)


@pytest.mark.parametrize(
    "path", ["", "vllm", "-x", "/a b", "/a/../b", "/a:b", "/a%h", "/a$b", "/a\n", "/a=b", "/a'b"]
)
def test_a_path_that_would_need_quotes_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        plain_path(path)


def test_a_line_that_systemd_would_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="1 MiB"):
        unit_line("é" * (1 << 19))
    assert unit_line("x" * 1000)


def shell_words(shell: str, words: list[str]) -> list[str]:
    """The arguments that a shell makes of quoted words."""
    script = "printf '%s\\0' " + " ".join(map(sh_word, words))
    with tempfile.NamedTemporaryFile("w", newline="", encoding="utf-8") as file:
        file.write(script)
        file.flush()
        command = [require_tool(shell), file.name]
        output = subprocess.run(command, capture_output=True, check=True).stdout
    return output.decode().split("\0")[:-1]


def systemd_words(words: list[str]) -> list[str]:
    """The arguments that systemd makes of quoted words."""
    command = " ".join(map(systemd_exec_word, words))
    return read_service(f"ExecStart=:/bin/true {command}").argv[1:]


def systemd_values(values: list[str]) -> list[str]:
    """The values of `Environment=` as systemd reads them."""
    lines = [f"Environment={systemd_environment(f'V{n}', v)}" for n, v in enumerate(values)]
    return list(read_service("\n".join(["ExecStart=/bin/true", *lines])).environment.values())


def podman_words(words: list[str]) -> list[str]:
    """The arguments of an engine after podman's generator, systemd and `podman run`."""
    return read_podman("Exec=" + " ".join(map(quadlet_exec_word, words)))[1]


def podman_values(values: list[str]) -> list[str]:
    """The values of the variables that `podman run` is told."""
    lines = [f"Environment={quadlet_environment(f'V{n}', v)}" for n, v in enumerate(values)]
    read = variables(read_podman("\n".join(lines))[0])
    return [read[f"V{number}"] for number in range(len(values))]


def env_file_values(values: list[str]) -> list[str]:
    """The values of an environment file as systemd reads them."""
    variables = {f"V{number}": value for number, value in enumerate(values)}
    return list(read_env_file(systemd_env_file_line, variables).values())


def compose_values(values: list[str]) -> list[str]:
    """The values of a YAML list as compose uses them."""
    text = "".join(f"- {compose_scalar(value)}\n" for value in values)
    return [interpolated(value) for value in YAML(typ="safe", pure=True).load(StringIO(text))]


def interpolated(value: str) -> str:
    """The rule of the compose specification, for a text in which no variable may be left."""
    assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", value), "a lone `$` is left"
    return value.replace("$$", "$")
