"""Arguments that name files: found from where the engine starts, shown to it, and writable."""

from __future__ import annotations

import pytest

from compiler.engines.file_arguments import files_read
from compiler.ir.engine_name import EngineName
from compiler.ir.inventory import Host, Target
from compiler.ir.spec import ArgValue
from tests.test_check import GGUF, INVENTORY, LLM, check_spec

READ: tuple[tuple[EngineName, str], ...] = (
    ("vllm", "chat_template"),
    ("vllm", "allowed_local_media_path"),
    ("vllm", "tool_parser_plugin"),
    ("llama.cpp", "chat_template_file"),
    ("llama.cpp", "grammar_file"),
    ("llama.cpp", "json_schema_file"),
)


def host(target: Target = "systemd") -> Host:
    return Host(
        name="h", address="h", target=target, ram_bytes=0, ram_reserved_bytes=0, ports=(1, 2),
        models_dir="/srv/models", engines={}, gpus=(),
    )  # fmt: skip


def check_argument(
    engine: EngineName, argument: str, *hints: str, target: Target = "systemd", replicas: int = 1
) -> None:
    """The hints of what is wrong with an argument, which stands as `name: value`."""
    model = LLM if engine == "vllm" else GGUF
    mark = "»" if hints else ""
    image = "org/image:1"
    check_spec(
        f"  chat: {{model: '{model}', replicas: {replicas}, "
        f"{engine}: {{args: {{{mark}{argument}}}}}}}\n",
        *(("file-out-of-reach", f"`{argument.partition(':')[0]}` is `", hint) for hint in hints),
        inventory=INVENTORY.replace("ram: 64GiB", f"ram: 64GiB\n  target: {target}")
        .replace("0.33.0}", f"0.33.0, image: {image}}}")
        .replace("9000}", f"9000, image: {image}}}"),
    )


@pytest.mark.parametrize("path", ["x.jinja", "./x.jinja", "~/x.jinja", "/srv/models/../x.jinja"])
@pytest.mark.parametrize(("engine", "argument"), READ)
@pytest.mark.parametrize("target", ["systemd", "script"])
def test_only_an_absolute_path_leads_to_a_file_from_wherever_an_engine_starts(
    engine: EngineName, argument: str, path: str, target: Target
) -> None:
    hint = "Write an absolute path on the host, such as `/srv/models/x.jinja`."
    check_argument(engine, f"{argument}: {path}", hint, target=target)


@pytest.mark.parametrize("target", ["compose", "quadlet"])
def test_in_a_container_the_images_own_files_are_a_way_out(target: Target) -> None:
    hint = (
        "Write an absolute path on the host, such as `/srv/models/x.jinja`, or one of the image, "
        "below `/vllm-workspace`."
    )
    check_argument("vllm", "chat_template: examples/x.jinja", hint, target=target)


@pytest.mark.parametrize(
    "argument",
    [
        "chat_template: '{{ messages }}'",
        "chat_template: /home/me/x.jinja",
        "tokenizer: Qwen/Qwen3-8B",
        "generation_config: vllm",
        "lora_modules: [one=org/adapter]",
    ],
)
def test_what_is_no_path_or_an_absolute_one_passes(argument: str) -> None:
    check_argument("vllm", argument)


@pytest.mark.parametrize(
    "argument", ["tokenizer: ./t", "generation_config: ~/c", "lora_modules: [one=./a]"]
)
def test_what_may_be_a_name_is_a_path_when_it_looks_like_one(argument: str) -> None:
    check_argument("vllm", argument, "Write an absolute path on the host")


@pytest.mark.parametrize("target", ["systemd", "compose", "quadlet"])
@pytest.mark.parametrize("path", ["/var/tmp/slots", "slots", "/srv/models/slots"])  # noqa: S108
def test_an_engine_writes_below_its_own_cache_folder(target: Target, path: str) -> None:
    hint = "Leave `slot_save_path` out, or write a path below `/var/cache/modelc-chat-0`."
    check_argument("llama.cpp", f"slot_save_path: {path}", hint, target=target)


def test_the_log_file_is_not_needed() -> None:
    check_argument("llama.cpp", "log_file: /var/log/x", "Leave it out: the log of the service")


def test_a_replica_writes_its_own_cache_and_not_that_of_another() -> None:
    path = "/var/cache/modelc-chat-0/slots"
    check_argument("llama.cpp", f"slot_save_path: {path}")
    hint = "and make one service for each replica."
    check_argument("llama.cpp", f"slot_save_path: {path}", hint, replicas=2)


def test_an_engine_that_fetches_its_model_may_write_models_dir() -> None:
    check_argument("vllm", "download_dir: /srv/models/hub")
    check_argument("vllm", "download_dir: /data/hub", "Leave `download_dir` out")


def test_the_user_of_scripts_may_write_anywhere() -> None:
    check_argument("llama.cpp", "slot_save_path: /var/tmp/slots", target="script")


@pytest.mark.parametrize(
    ("engine", "args", "expected"),
    [
        ("vllm", {"chat_template": "/home/me/x.jinja"}, ["/home/me/x.jinja"]),
        ("vllm", {"chat_template": "/{{ x }}"}, []),
        ("vllm", {"lora_modules": ["a=/data/a", '{"name": "b", "path": "/data/b"}', "c=org/c"]},
         ["/data/a", "/data/b"]),
        ("vllm", {"lora_modules": ["{", "[1]", "x", '{"name": "b"}']}, []),
        ("vllm", {"chat_template_content_format": "/x"}, []),
        ("llama.cpp", {"grammar_file": "/data/x", "path": "/www"}, ["/data/x", "/www"]),
        ("llama.cpp", {"chat_template": "/x", "slot_save_path": "/var/cache/modelc-a-0"}, []),
    ],
)  # fmt: skip
def test_files_that_a_replica_is_shown(
    engine: EngineName, args: dict[str, ArgValue], expected: list[str]
) -> None:
    assert files_read(engine, args, host()) == expected


@pytest.mark.parametrize(
    ("engine", "own"), [("vllm", "/vllm-workspace/x"), ("llama.cpp", "/app/x")]
)
def test_files_of_the_image_are_not_shown_from_the_host(engine: EngineName, own: str) -> None:
    argument = "chat_template" if engine == "vllm" else "chat_template_file"
    assert files_read(engine, {argument: own}, host("compose")) == []
    assert files_read(engine, {argument: own}, host("systemd")) == [own]
