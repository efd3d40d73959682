"""Ansible: the playbooks that bring each host its release, and the data that they read.

Only data differ between fleets. The inventory holds names, addresses and groups, and nothing that a
template could execute; all else is read by the one program that runs on the hosts, as text that
Ansible hands over without a look at it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from compiler.emit.conventions import health_url
from compiler.emit.releases import start_order
from compiler.emit.rendering import HOST_PROGRAM, Templates, render
from compiler.emit.starting import SECRETS_DIR
from compiler.engines.registry import engine_of, traits_of
from compiler.ir.artifact import Artifact
from compiler.ir.inventory import CONTAINER_TARGETS, NOT_PUBLISHED, Target
from compiler.ir.listening import own_address
from compiler.ir.plan import Plan, Replica, digest
from compiler.ir.rollout import HostRelease, Rollout

FOLDER = "ansible"

# What a change writes on a host beside engines and models: units, and three releases of them.
_DISK_BYTES = 64 << 20

_FIXED = (
    "ansible.cfg",
    "status.yml",
    "rollback.yml",
    "roles/modelc/defaults/main.yml",
    "roles/modelc/meta/main.yml",
    "roles/modelc/tasks/main.yml",
)


def emit_ansible(
    plan: Plan, artifacts: Iterable[Artifact], templates: Templates
) -> Iterator[Artifact]:
    """The project of a plan that knows its releases and its rollout."""
    rollout = plan.rollout or Rollout(waves=[], leaving=[])
    for name in _FIXED:
        yield render(templates, f"ansible/{name}", f"{FOLDER}/{name}", {})
    yield _program(templates)
    numbers = {"waves": range(len(rollout.waves))}
    yield render(templates, "ansible/deliver.yml", f"{FOLDER}/deliver.yml", numbers)
    yield _json(f"{FOLDER}/inventory.json", _inventory(plan, rollout))
    visits = {visit.host: visit for wave in rollout.waves for visit in wave.visits}
    by_host: dict[str, list[Artifact]] = {release.host: [] for release in plan.releases}
    for artifact in artifacts:
        by_host[artifact.path.partition("/")[0]].append(artifact)
    for release in (*plan.releases, *rollout.leaving):
        files = [
            each for each in by_host.get(release.host, ()) if not each.path.endswith("/MANIFEST")
        ]
        files = files if release.replicas else []
        visit = visits.get(release.host)
        replicas = start_order(r for r in plan.replicas if r.host == release.host)
        document = {
            "base": visit.base if visit else release.id,
            "steps": [step.model_dump() for step in (visit.steps if visit else ())],
            "release": _release(release, replicas, files),
            "needs": _needs(replicas),
        }
        yield _json(f"{FOLDER}/data/{release.host}.json", document)
        # Apart from the data, as the playbook reads it: paths that modelc has made, and no more.
        listed = "".join(f"{each.path}\n" for each in files)
        path = f"{FOLDER}/data/{release.host}.files"
        yield Artifact(path=path, text=listed, semantic_digest=digest(listed))


def _program(templates: Templates) -> Artifact:
    """With its digest below the line that names its interpreter, as in every file."""
    first, _, rest = templates.host_program.partition("\n")
    meaning = digest(templates.host_program)
    note = f"# Written by modelc; changes made here are lost. Digest: {meaning}"
    return Artifact(
        path=f"{FOLDER}/{HOST_PROGRAM.removeprefix('ansible/')}",
        text=f"{first}\n{note}\n{rest}",
        semantic_digest=meaning,
    )


def _json(path: str, document: object) -> Artifact:
    text = json.dumps(document, ensure_ascii=True, indent=1, sort_keys=True) + "\n"
    return Artifact(path=path, text=text, semantic_digest=digest(text))


def _inventory(plan: Plan, rollout: Rollout) -> dict[str, object]:
    addresses = {each.host: each.address for each in (*plan.releases, *rollout.leaving)}
    groups = {
        f"modelc_wave_{number}": [visit.host for visit in wave.visits]
        for number, wave in enumerate(rollout.waves)
    }
    changing = {host for hosts in groups.values() for host in hosts}
    groups["modelc_settled"] = [host for host in addresses if host not in changing]
    children = {
        group: {"hosts": {host: {"ansible_host": addresses[host].strip("[]")} for host in hosts}}
        for group, hosts in groups.items()
    }
    return {"all": {"children": children}}


def _release(
    release: HostRelease, replicas: list[Replica], files: list[Artifact]
) -> dict[str, object]:
    digests = {each.name: each.digest for each in release.replicas}
    return {
        "id": release.id,
        "host": release.host,
        "target": release.target,
        "files": [
            {
                "dest": _destination(release, each.path),
                "mode": _mode(release.target, each),
                "sha256": digest(each.text),
            }
            for each in files
        ],
        "replicas": [_replica(each, digests[each.name]) for each in replicas],
    }


def _destination(release: HostRelease, path: str) -> str:
    """Where a file of compiled/<host>/ goes on its host; `~` is of who delivers."""
    inside = PurePosixPath(path).relative_to(release.host)
    name = inside.name
    if release.target == "script":
        return f"~/.local/share/modelc/{release.host}/{inside}"
    if release.target == "compose":
        return f"/etc/modelc/{name}"
    folders = {
        "env": "/etc/modelc/env",
        "sysusers.d": "/etc/sysusers.d",
        "tmpfiles.d": "/etc/tmpfiles.d",
    }
    if name.endswith(".container"):
        return f"/etc/containers/systemd/{name}"
    return f"{folders.get(inside.parent.name, '/etc/systemd/system')}/{name}"


def _mode(target: Target, artifact: Artifact) -> str:
    """Variables are for root alone; compose.yaml holds them too."""
    if target == "script":
        return "0700"
    return "0600" if target == "compose" or artifact.path.endswith(".env") else "0644"


def _replica(replica: Replica, digest_: str) -> dict[str, object]:
    traits = traits_of(replica.engine)
    published = replica.listen != NOT_PUBLISHED
    key = traits.key_variable if traits.key_variable in replica.secrets else None
    return {
        "name": replica.name,
        "digest": digest_,
        "after": list(replica.start_after),
        "served": replica.service,
        "task": replica.task,
        "tokens_line": traits.tokens_line,
        "layers_line": traits.layers_line,
        "port": replica.port,
        "published": published,
        "url": f"http://{own_address(replica.listen)}:{replica.port}" if published else None,
        "health": health_url(replica),
        "key": key,
        "kv_tokens": replica.kv_tokens,
        "gpu_layers": replica.gpu_layers,
        "share_bytes": sum(share.share_bytes for share in replica.shares),
        "start_seconds": replica.start_timeout_seconds,
    }


def _needs(replicas: list[Replica]) -> dict[str, object]:
    """What must be on the host before anything stops."""
    installed = [each for each in replicas if each.target not in CONTAINER_TARGETS]
    shares = [share for each in replicas for share in each.shares]
    return {
        "secrets_dir": SECRETS_DIR,
        "secrets": sorted({name for each in replicas for name in each.secrets}),
        "engines": [_engine(each) for each in installed],
        "devices": sorted({f"/dev/nvidia{s.minor}" for s in shares if s.minor is not None}),
        "models": [
            {"replica": each.name, "path": path}
            for each in replicas
            for path in dict.fromkeys((each.model_path, *(c.path for c in each.companions)))
            if path.startswith("/")
        ],
        "vram": [
            {"uuid": uuid, "bytes": sum(s.share_bytes for s in shares if s.uuid == uuid)}
            for uuid in sorted({s.uuid for s in shares if s.uuid})
        ],
        "disk_bytes": _DISK_BYTES,
    }


def _engine(replica: Replica) -> dict[str, str]:
    check = engine_of(replica.engine).version_check(replica.engine_version)
    return {
        "replica": replica.name,
        "program": replica.argv[0],
        "title": f"{replica.engine} {replica.engine_version}",
        "wanted": check.wanted,
        "readable": check.readable,
    }
