"""How a replica gets its secrets: from files, at its start, by name only."""

from __future__ import annotations

from compiler.emit.quoting import env_name
from compiler.ir.plan import Replica

SECRETS_DIR = "/etc/modelc/secrets"

# Engines read secrets from variables, so something must turn files into variables before them.
# The text is constant: names and argv are its positional parameters, and a shell never parses
# those. systemd names the folder of the credentials; compose always mounts at /run/secrets.
_EXPORT_AND_EXEC = (
    "set -eu; from=${CREDENTIALS_DIRECTORY:-/run/secrets}; "
    'while [ "$1" != -- ]; do value=$(cat "$from/$1"); export "$1=$value"; shift; done; '
    'shift; exec "$@"'
)


def command(replica: Replica) -> tuple[str, ...]:
    """The argv that starts a replica with its secrets as variables; its own when it has none."""
    names = secret_names(replica)
    if not names:
        return tuple(replica.argv)
    return ("/bin/sh", "-c", _EXPORT_AND_EXEC, "modelc-run", *names, "--", *replica.argv)


def secret_names(replica: Replica) -> tuple[str, ...]:
    """The names of a replica's secrets, each fit to be a file and a variable."""
    return tuple(env_name(name) for name in replica.secrets)
