"""What runs before an engine and becomes it: asks for its version, hands over GPUs and secrets."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.emit.quoting import env_name
from compiler.engines.registry import engine_of
from compiler.ir.plan import Replica

SECRETS_DIR = "/etc/modelc/secrets"

# EX_CONFIG of sysexits.h, which the text below says itself: to start the same engine once more
# gives the same answer.
WRONG_ENGINE_STATUS = 78


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


# Lines of a POSIX shell, constant text: whatever differs is a positional parameter, and a shell
# never parses those. Each line may also follow the one before after a blank. Every variable begins
# with `modelc_`, a name that no secret may have (compiler/engines/environment.py). Before anything
# else: a shell that is told to say what it does would say a secret's value.
_BEGIN = _lines(
    """
    { set +x; } 2>/dev/null;
    set -eu;
    modelc_engine=$1; modelc_wanted=$2; modelc_readable=$3; modelc_program=$4;
    shift 4;
    """
)
_ASK_VERSION = _lines(
    r"""
    modelc_said=$("$modelc_program" --version 2>&1 </dev/null) || :;
    modelc_version=$(printf "%s\n" "$modelc_said" | grep -E -e "$modelc_readable") || :;
    if [ -z "$modelc_version" ]; then
    echo "modelc: $modelc_program does not say its version; $modelc_engine is expected" >&2;
    elif ! printf "%s\n" "$modelc_said" | grep -Eq -e "$modelc_wanted"; then
    echo "modelc: $modelc_engine is planned, and $modelc_program is $modelc_version" >&2;
    exit 78;
    fi;
    """
)
# nvidia-smi sees the GPUs that the unit may open and counts them by the bus, as CUDA does.
_FIND_GPUS = _lines(
    r"""
    modelc_gpus=$(nvidia-smi --query-gpu=index,uuid --format=csv,noheader 2>&1) || {
    echo "modelc: $modelc_engine takes no UUIDs, and nvidia-smi fails: $modelc_gpus" >&2;
    exit 1; };
    modelc_places=;
    for modelc_gpu in $(printf "%s" "$CUDA_VISIBLE_DEVICES" | tr , " "); do
    modelc_place=$(printf "%s\n" "$modelc_gpus" | sed -n "s/, $modelc_gpu\$//p");
    if [ -z "$modelc_place" ]; then
    echo "modelc: $modelc_gpu is not here, but: $modelc_gpus" >&2;
    exit 1;
    fi;
    modelc_places=${modelc_places:+$modelc_places,}$modelc_place;
    done;
    export CUDA_VISIBLE_DEVICES="$modelc_places";
    """
)
# systemd and our scripts name the folder; containers have it at /run/secrets.
_EXPORT_SECRETS = _lines(
    """
    modelc_from=${CREDENTIALS_DIRECTORY:-/run/secrets};
    while [ "$1" != -- ]; do
    modelc_value=$(cat "$modelc_from/$1");
    export "$1=$modelc_value";
    shift;
    done;
    """
)
_BECOME = _lines(
    """
    shift;
    exec "$modelc_program" "$@"
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The command line that starts a replica: a shell with this text, which becomes the engine."""

    lines: tuple[str, ...]
    """Its text, in lines that may be joined by a line end or by a blank."""
    parameters: tuple[str, ...]
    """What stands between the text and the engine's arguments: `$0`, and what the text reads."""
    arguments: tuple[str, ...]
    """The engine's own."""

    def argv(self, joint: str = "\n") -> tuple[str, ...]:
        """The whole command line."""
        return ("/bin/sh", "-c", joint.join(self.lines), *self.parameters, *self.arguments)


def start_of(replica: Replica, *, selects_gpus: bool) -> Start:
    """How a replica starts. `selects_gpus`: by the environment, and not by a container runtime."""
    program, *arguments = replica.argv
    engine = engine_of(replica.engine)
    check = engine.version_check(replica.engine_version)
    secrets = secret_names(replica)
    named = selects_gpus and any(share.uuid for share in replica.shares)
    visible = replica.env.get("CUDA_VISIBLE_DEVICES", "")
    by_uuid = (
        named and visible.startswith("GPU-") and not engine.takes_uuids(replica.engine_version)
    )
    return Start(
        lines=(
            *_BEGIN,
            *_ASK_VERSION,
            *(_FIND_GPUS if by_uuid else ()),
            *(_EXPORT_SECRETS if secrets else ()),
            *_BECOME,
        ),
        parameters=(
            "modelc-run",
            f"{replica.engine} {replica.engine_version}",
            check.wanted,
            check.readable,
            program,
            *secrets,
            "--",
        ),
        arguments=tuple(arguments),
    )


def secret_names(replica: Replica) -> tuple[str, ...]:
    """The names of a replica's secrets, each fit to be a file and a variable."""
    return tuple(env_name(name) for name in replica.secrets)
