"""Makes the root of a Debian host, once, outside the repository.

    python -m tests.hosts.debian

It is downloaded from where this machine's own apt downloads.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

# Debian 13: systemd 257, and the first release that packages docker compose 2.
RELEASE = "trixie"
PACKAGES = (
    # The host: systemd as its first process, and what docs/targets.md says that a host needs.
    *("systemd", "systemd-sysv", "dbus", "curl"),
    # What the tests look with, the interpreter of the stand-in engine, libraries of the engines.
    *("iproute2", "procps", "python3", "libgomp1", "libnuma1", "libstdc++6"),
    # How changes are delivered to it.
    "openssh-server",
    *("docker.io", "docker-cli", "docker-compose", "iptables"),
    *("podman", "crun", "netavark", "aardvark-dns", "catatonit", "nftables"),
)
# A host starts docker when a test asks for it.
_SETTLE = 'systemctl --root="$1" --quiet disable docker.service docker.socket containerd.service'


def folder() -> Path:
    """Where the root is kept; another list of packages is another root."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    wanted = hashlib.sha256(" ".join((*PACKAGES, _SETTLE)).encode()).hexdigest()[:12]
    return Path(base) / "modelc" / f"debian-{RELEASE}-{wanted}"


def root() -> Path:
    """The root, made if it is not there: about a minute."""
    made = folder()
    if not made.exists():
        partial = made.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        _make(partial)
        partial.rename(made)  # Last, so that an interrupted call leaves no half of a root.
    return made


def _make(target: Path) -> None:
    packages = f"--include={','.join(PACKAGES)}"
    command = ["nice", "mmdebstrap", "--quiet", "--variant=minbase", packages]
    command.append(f"--customize-hook={_SETTLE}")
    subprocess.run([*command, RELEASE, target, *_mirror()], check=True)


def _mirror() -> list[str]:
    """The archive from which this machine has Debian; none on another system: then Debian's own."""
    wanted = ("indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages")
    listed = subprocess.run(["apt-get", *wanted], capture_output=True, check=True, text=True).stdout
    lines = [line.split() for line in listed.splitlines()]
    # The first is the release itself; its updates and their security stand elsewhere.
    return [words[1] for words in lines if words[0] == "Debian"][:1]


if __name__ == "__main__":
    print(root())
