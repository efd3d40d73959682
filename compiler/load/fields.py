"""Field types of the user's files: sizes, shares, names and texts that are safe to carry."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from compiler.ir.catalog import parse_compute
from compiler.ir.credentials import looks_secret
from compiler.ir.inventory import NOT_PUBLISHED
from compiler.ir.units import parse_size, permille

SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# As the reference grammar of container images has it (distribution/reference): a registry, a path
# of lower-case words, a tag, a digest.
IMAGE = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
# Devices and what the kernel shows as files are no folders of models and no programs; of these,
# people keep models in /dev/shm alone.
_NO_FILES = re.compile(r"/+(?:(?:dev(?!/+shm/+.)|proc|sys)(?:/.*)?)?")
_NUMBERS = re.compile(r"[0-9.]+")
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")
PROGRAM = re.compile(r"/(?!(.*/)?\.\.(/|$))[A-Za-z0-9._/+-]{1,255}")
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Shorter forms are enough for CUDA and nvidia-smi, and not for NVML, which vLLM asks from 0.24 on.
# The last form is that of MIG slices up to driver 460.
GPU_UUID = re.compile(rf"GPU-{_UUID}|MIG-{_UUID}|MIG-GPU-{_UUID}/[0-9]{{1,2}}/[0-9]{{1,2}}")
# No one argument of a program may be longer (Linux MAX_ARG_STRLEN is 128 KiB); leave room to quote.
MAX_TEXT = 32 << 10
_MAX_PORT = 65535
# No host has a petabyte of RAM, and the solver's 64-bit sums must hold a whole fleet of them.
_MAX_SIZE_BYTES = 1 << 50
# Control characters (of terminals with 8 bits too), line ends that only some programs see, and the
# marks that make text read otherwise than it is.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Entry(BaseModel):
    """A mapping of the user's file: strict types, unknown keys refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def safe_text(value: object) -> str:
    """Text that every target can carry unchanged."""
    if not isinstance(value, str):
        raise PydanticCustomError("wrong_type", "This must be a text, in quotes if need be.")
    found = _UNSAFE.search(value)
    if found:
        raise PydanticCustomError(
            "unsafe_text", "It holds the character {mark}.", {"mark": f"U+{ord(found[0]):04X}"}
        )
    if len(value.encode("utf-8")) > MAX_TEXT:
        raise PydanticCustomError("unsafe_text", "It is longer than 32 KiB.")
    if looks_secret(value):
        raise PydanticCustomError(
            "secret", "Name it under `secrets` instead; values never enter the repository"
        )
    return value


def _size(value: object) -> int:
    if not isinstance(value, str):
        raise PydanticCustomError("size", "A size is a number with a unit, such as `24GiB`.")
    try:
        size_bytes = parse_size(value)
    except ValueError as error:
        raise PydanticCustomError("size", "{why}.", {"why": str(error)}) from None
    if size_bytes > _MAX_SIZE_BYTES:
        raise PydanticCustomError("wrong_value", "This must be at most `1024TiB`.")
    return size_bytes


def _share(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError(
            "wrong_type", "A share is a number between 0 and 1, such as 0.95."
        )
    try:
        return permille(getattr(value, "text", value))
    except (ValueError, OverflowError) as error:
        raise PydanticCustomError("wrong_value", "{why}.", {"why": str(error)}) from None


def _compute(value: object) -> tuple[int, int]:
    text = value if isinstance(value, str) else getattr(value, "text", None)
    try:
        return parse_compute(text or "")
    except ValueError:
        raise PydanticCustomError(
            "wrong_value", "A compute capability is written as `8.9`."
        ) from None


def _version(value: object) -> str:
    """`0.10` and `9000` may stand without quotes."""
    if isinstance(value, bool):
        raise PydanticCustomError("wrong_type", "This must be a version.")
    if isinstance(value, int):
        return str(value)
    return safe_text(getattr(value, "text", value))


def _port_range(value: object) -> tuple[int, int]:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text) if isinstance(text, str) else None
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last <= _MAX_PORT:
        raise PydanticCustomError("wrong_value", "Ports are written as `8000-8999`.")
    return first, last


def _listen(value: object) -> str:
    """An address in its usual form; `localhost` is one, and `none` stands for no address at all.

    A network (`10.0.0.0/8`) stands for the address that a host has in it.
    """
    text = safe_text(value)
    if text in ("localhost", NOT_PUBLISHED):
        return "127.0.0.1" if text == "localhost" else text
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    with suppress(ValueError):
        written = ipaddress.ip_interface(text)
        address, network = written.ip, written.network
        # `10.0.0.5/8` is an address and the length of its network, `0.0.0.0/0` all addresses.
        is_network = network.num_addresses > 1 and network.prefixlen
        if is_network and address == network.network_address and not address.is_multicast:
            return str(network)
    if address is None or address.is_multicast or "%" in text:
        raise PydanticCustomError(
            "wrong_value",
            "This must be an address of the host (`10.0.0.5`), `localhost`, `0.0.0.0` for all of "
            "them, a network in which its `address` is (`10.0.0.0/8`), or `none` for a container "
            "that nothing outside its network may reach",
        )
    return str(address)


def _path_on_host(value: object) -> str:
    text = safe_text(value)
    if not PROGRAM.fullmatch(text):
        raise PydanticCustomError(
            "wrong_value",
            "This must be an absolute path of letters, digits and `._/+-` without a step `..`.",
        )
    if _NO_FILES.fullmatch(text):
        raise PydanticCustomError("wrong_value", "This must be a path to files of your own.")
    return text


def _program(value: object) -> str:
    text = _path_on_host(value)
    if text.endswith("/"):
        raise PydanticCustomError("wrong_value", "This must be the path of a program.")
    return text


def _address(value: object) -> str:
    text = safe_text(value)
    named = text.replace("{name}", "x")
    try:
        ipaddress.ip_address(
            named.removeprefix("[").removesuffix("]") if named.startswith("[") else named
        )
    except ValueError:
        # What looks like four numbers is meant as an IP address.
        if not _HOST_NAME.fullmatch(named) or _NUMBERS.fullmatch(named):
            raise PydanticCustomError(
                "wrong_value",
                "This must be a host name or an IP address, without a port or a user.",
            ) from None
    return text


def _matching(pattern: re.Pattern[str], rule: str) -> BeforeValidator:
    def validate(value: object) -> str:
        text = safe_text(value)
        if not pattern.fullmatch(text):
            raise PydanticCustomError("wrong_value", "{rule}", {"rule": rule})
        return text

    return BeforeValidator(validate)


def _text_schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


Text = Annotated[str, BeforeValidator(safe_text)]
Size = Annotated[int, BeforeValidator(_size), _text_schema(r"^\d+(\.\d+)? ?(B|KiB|MiB|GiB|TiB)$")]
Share = Annotated[
    int, BeforeValidator(_share), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})
]
Compute = Annotated[
    tuple[int, int],
    BeforeValidator(_compute),
    WithJsonSchema({"type": ["string", "number"], "pattern": r"^\d+\.\d+$"}),
]
Version = Annotated[
    str, BeforeValidator(_version), WithJsonSchema({"type": ["string", "number", "integer"]})
]
PortRange = Annotated[
    tuple[int, int],
    BeforeValidator(_port_range),
    WithJsonSchema({"type": ["string", "integer"], "pattern": r"^\d+(-\d+)?$"}),
]
Listen = Annotated[str, BeforeValidator(_listen), WithJsonSchema({"type": "string"})]
Slug = Annotated[
    str,
    _matching(SLUG, "A name is lower-case letters, digits and inner dashes, at most 50 of them."),
    _text_schema(f"^{SLUG.pattern}$"),
]
Program = Annotated[str, BeforeValidator(_program), _text_schema(f"^{PROGRAM.pattern}$")]
Folder = Annotated[str, BeforeValidator(_path_on_host), _text_schema(f"^{PROGRAM.pattern}$")]
Address = Annotated[str, BeforeValidator(_address), WithJsonSchema({"type": "string"})]
Image = Annotated[
    str,
    _matching(
        IMAGE,
        "An image is written as `registry/name:tag`, with `@sha256:` and 64 digits if need be.",
    ),
    _text_schema(f"^{IMAGE.pattern}$"),
]
GpuUuid = Annotated[
    str,
    _matching(
        GPU_UUID,
        "A GPU's uuid is written whole, as `nvidia-smi -L` prints it: `GPU-` or `MIG-`, and groups "
        "of 8, 4, 4, 4 and 12 hexadecimal digits.",
    ),
    _text_schema(f"^{GPU_UUID.pattern}$"),
]
EnvName = Annotated[
    str,
    _matching(ENV_NAME, "An environment variable is letters, digits and underscores."),
    _text_schema(f"^{ENV_NAME.pattern}$"),
]
