#!/usr/bin/python3
# Written by modelc; changes made here are lost. Digest: 8ac2e6c860b2a45ee0247a12d29b38505cc53b57d42f31a72b42e72e86a4ec62
"""Changes a host of modelc from the release that it has to another one, and tells what it has.

    deliver         a bundle on stdin: looks, refuses or stores it, begins the change, and says so
    wait RUN        up to a minute for the end of a change; says how it ended or where it is
    rollback [ID]   begins the change back to a release that the host still has
    look            what the host has, what runs, what somebody has changed by hand

Every answer is one line of JSON. The change itself (`switch`) is a process of its own, a transient
unit where there is systemd: whoever began it may go, and it ends with the old or the new release
whole. No value of a bundle is ever read by a shell. Python 3.8 or later, without anything else.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

NONE = {"id": "none", "target": "", "files": [], "replicas": []}
OURS = b"# Written by modelc;"
SWITCH_UNIT, RESUME_UNIT = "modelc-switch.service", "modelc-resume.service"
SECRETS = Path("/etc/modelc/secrets")
KEPT_RELEASES = 3
WAIT_SECONDS = 50
NO_PROGRAM = 127
ASK_SECONDS = 120
HOOK_SECONDS = 600
ASKS = {
    "generate": ("/v1/completions", {"prompt": "1", "max_tokens": 1}),
    "embed": ("/v1/embeddings", {"input": "1"}),
    "rerank": ("/v1/rerank", {"query": "1", "documents": ["1"]}),
    "classify": ("/classify", {"input": "1"}),
}
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Refused(Exception):
    """Nothing was changed; the first word says of which kind the reason is."""


class Failed(Exception):
    """The change did not succeed, and is taken back."""


# --- What the host keeps -------------------------------------------------------------------------


def state_dir():
    """Root's for services of the host; a user's own for scripts."""
    if os.geteuid() == 0:
        return Path("/var/lib/modelc")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "modelc-host"


def read_json(path, default):
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return default


def put(path, data, mode=0o600):
    """By rename, and through to the disk: nobody ever reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.modelc-partial")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data if isinstance(data, bytes) else json.dumps(data, sort_keys=True).encode())
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    partial.rename(path)


def committed():
    return read_json(state_dir() / "release.json", NONE)


def stored(release_id):
    """A release that the host still has; its files lie beside it, under the paths where they go."""
    if not re.fullmatch(r"[0-9a-z]{1,64}", release_id):
        raise Refused(f"unknown: {release_id[:64]!r} cannot be a release")
    found = read_json(state_dir() / "releases" / release_id / "release.json", None)
    if found is None and release_id == "none":
        return NONE
    if found is None:
        raise Refused(f"unknown: this host has no release {release_id}")
    return found


def place(dest):
    return Path(dest).expanduser()


def copy_of(release, dest):
    inside = dest.lstrip("/") if dest.startswith("/") else "home/" + dest[2:]
    return state_dir() / "releases" / release["id"] / "root" / inside


def sha256(path):
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def holder():
    """Who changes this host now; None when nobody does."""
    path = state_dir() / "lock"
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return read_json(path, {}).get("who", "somebody")
    return None


def run(*command, timeout=None, text=None):
    try:
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            check=False,
            timeout=timeout,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def said(done):
    return (done.stderr.strip() or done.stdout.strip())[-400:]


# --- The four targets ----------------------------------------------------------------------------


class Units:
    """systemd units, written by modelc or made of container files by podman's generator."""

    def __init__(self, target):
        self.target = target

    def names(self, replicas):
        return [f"modelc-{name}.service" for name in replicas]

    def stop(self, replicas):
        if replicas:
            run("systemctl", "stop", *self.names(replicas))
            run("systemctl", "reset-failed", *self.names(replicas))

    def start(self, replicas):
        done = run("systemctl", "start", *self.names([each["name"] for each in replicas]))
        if done.returncode:
            raise Failed(f"start: {said(done)}")

    def refresh(self, release):
        if self.target == "systemd" and place("/etc/sysusers.d/modelc.conf").exists():
            run("systemd-sysusers", "/etc/sysusers.d/modelc.conf")
        if place("/etc/tmpfiles.d/modelc.conf").exists():
            run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/modelc.conf")
        done = run("systemctl", "daemon-reload")
        if done.returncode:
            raise Failed(f"reload: {said(done)}")
        if release["replicas"]:
            run("systemctl", "enable", "--quiet", "modelc.target")

    def forget(self):
        """Before the files of the last release go."""
        run("systemctl", "disable", "--quiet", "modelc.target")
        run("systemctl", "stop", "modelc.target")

    def validate(self, release):
        root = state_dir() / "releases" / release["id"] / "root/etc"
        if self.target == "quadlet":
            generator = "/usr/lib/systemd/system-generators/podman-system-generator"
            found = dict(os.environ, QUADLET_UNIT_DIRS=str(root / "containers/systemd"))
            done = subprocess.run(
                [generator, "--dryrun"], env=found, capture_output=True, check=False, text=True
            )
            bad = [
                line for line in done.stderr.splitlines() if "rror" in line or "nsupported" in line
            ]
            if done.returncode or bad:
                raise Refused(f"invalid: {' '.join(bad)[-400:] or said(done)}")
            return
        units = sorted(str(path) for path in (root / "systemd/system").glob("*.service"))
        if units:
            found = dict(os.environ, SYSTEMD_UNIT_PATH=f"{root / 'systemd/system'}:")
            command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units]
            done = subprocess.run(command, env=found, capture_output=True, check=False, text=True)
            # It ends with 0 where it only warns, as of a key that it does not know.
            if done.returncode or done.stderr.strip():
                raise Refused(f"invalid: {said(done)}")

    def state(self, replica):
        keys = (
            "ActiveState,SubState,InvocationID,NRestarts,NeedDaemonReload,DropInPaths,ControlGroup"
        )
        done = run("systemctl", "show", *self.names([replica]), f"--property={keys}")
        found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        return {
            "active": found.get("ActiveState") == "active",
            "state": "/".join(found.get(key, "") for key in ("ActiveState", "SubState")),
            "invocation": found.get("InvocationID", ""),
            "restarts": int(found.get("NRestarts") or 0),
            "drop_ins": found.get("DropInPaths", ""),
            "reload": found.get("NeedDaemonReload") == "yes",
            "cgroup": found.get("ControlGroup", ""),
        }

    def log(self, replica, invocation):
        """Of this start alone: an engine of before has said something else."""
        words = ["journalctl", "--quiet", "--output=cat", "--no-pager"]
        return run(*words, f"_SYSTEMD_INVOCATION_ID={invocation}").stdout

    def pids(self, replica):
        group = self.state(replica)["cgroup"]
        for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"):
            folder = Path(root + group)
            if group and folder.is_dir():
                files = [folder / "cgroup.procs", *folder.rglob("cgroup.procs")]
                return {int(line) for path in files for line in path.read_text().split()}
        return set()


class Compose:
    """docker compose on the host itself: a remote one would look for files elsewhere."""

    file = Path("/etc/modelc/compose.yaml")

    def call(self, *words, file=None):
        return run(
            "docker",
            "compose",
            "--project-name",
            "modelc",
            "--file",
            str(file or self.file),
            *words,
        )

    def containers(self, replica):
        filters = (
            f"label=com.docker.compose.service={replica}",
            "label=com.docker.compose.project=modelc",
        )
        words = [word for each in filters for word in ("--filter", each)]
        return run("docker", "ps", "--all", "--quiet", *words).stdout.split()

    def stop(self, replicas):
        for replica in replicas:
            for container in self.containers(replica):
                run("docker", "stop", container)
                run("docker", "rm", "--force", container)

    def start(self, replicas):
        # Each by itself, so that compose leaves alone what it would start them after.
        for level in levels(replicas):
            done = self.call("up", "--detach", "--wait", "--no-deps", *level)
            if done.returncode:
                raise Failed(f"start: {said(done)}")

    def refresh(self, release):
        pass

    def forget(self):
        self.call("down", "--remove-orphans")

    def validate(self, release):
        done = self.call("config", "--quiet", file=copy_of(release, str(self.file)))
        if done.returncode:
            raise Refused(f"invalid: {said(done)}")

    def state(self, replica):
        found = [
            json.loads(run("docker", "inspect", each).stdout or "[{}]")[0]
            for each in self.containers(replica)
        ]
        state = found[0].get("State", {}) if found else {}
        return {
            "active": bool(state.get("Running"))
            and state.get("Health", {}).get("Status", "healthy") == "healthy",
            "state": state.get("Status", "gone"),
            "invocation": f"{found[0].get('Id', '')} {state.get('StartedAt')}" if found else "",
            "restarts": found[0].get("RestartCount", 0) if found else 0,
            "drop_ins": "",
            "reload": False,
            "image": found[0].get("Image", "") if found else "",
        }

    def log(self, replica, invocation):
        done = run(
            "docker", "logs", "--since", invocation.partition(" ")[2], invocation.partition(" ")[0]
        )
        return done.stdout + done.stderr

    def pids(self, replica):
        tops = [
            run("docker", "top", each, "-eo", "pid").stdout for each in self.containers(replica)
        ]
        return {int(word) for top in tops for word in top.split() if word.isdigit()}


class Scripts:
    """Launch scripts, as whoever delivers: the functions that they share do one replica."""

    def __init__(self, release):
        libs = [each["dest"] for each in release["files"] if each["dest"].endswith("/lib.sh")]
        self.lib = str(place(libs[0])) if libs else ""

    def call(self, text, *words):
        # The text is ours; names and addresses are parameters, which a shell does not parse.
        if not self.lib:
            return subprocess.CompletedProcess(words, 0, "", "")
        return run("bash", "-euc", f'. "$0"; {text}', self.lib, *words)

    def stop(self, replicas):
        if replicas:
            self.call('take_lock; for name; do halt "$name"; done', *replicas)

    def start(self, replicas):
        by_name = {each["name"]: each for each in replicas}
        for level in levels(replicas):
            words = [
                w
                for name in level
                for w in (name, by_name[name]["health"], str(by_name[name]["start_seconds"]))
            ]
            done = self.call(
                'take_lock; failed=0; i=("$@"); for ((n=0; n<$#; n+=3)); do launch "${i[n]}"; done; '
                'for ((n=0; n<$#; n+=3)); do await "${i[@]:n:3}" || failed=1; done; exit $failed',
                *words,
            )
            if done.returncode:
                raise Failed(f"start: {said(done)}")

    def refresh(self, release):
        pass

    def forget(self):
        pass

    def validate(self, release):
        for each in release["files"]:
            done = run("bash", "-n", str(copy_of(release, each["dest"])))
            if done.returncode:
                raise Refused(f"invalid: {said(done)}")

    def state(self, replica):
        done = self.call('cat "$state/$1.pid"; pid_of "$1" >/dev/null', replica)
        return {
            "active": done.returncode == 0,
            "state": "running" if done.returncode == 0 else "stopped",
            "invocation": done.stdout.strip(),
            "restarts": 0,
            "drop_ins": "",
            "reload": False,
        }

    def log(self, replica, invocation):
        return self.call('cat "$state/$1.log"', replica).stdout

    def pids(self, replica):
        pid = self.call('pid_of "$1"', replica).stdout.strip()
        return (
            {int(each) for each in run("ps", "-o", "pid=", "--sid", pid).stdout.split()}
            if pid
            else set()
        )


def runner(release):
    target = release["target"]
    if target == "compose":
        return Compose()
    return Scripts(release) if target == "script" else Units(target or "systemd")


def levels(replicas):
    """Names that may start at once, each level after the one before."""
    left = {each["name"]: set(each["after"]) for each in replicas}
    while left:
        ready = [name for name, after in left.items() if not after & left.keys()]
        yield ready
        for name in ready:
            del left[name]


# --- What the host has ---------------------------------------------------------------------------


def look():
    """What this host has, and what of it was changed by hand; asks no engine."""
    former = committed()
    at = runner(former)
    states = {each["name"]: at.state(each["name"]) for each in former["replicas"]}
    drift = []
    for each in former["files"]:
        digest = sha256(place(each["dest"]))
        if digest != each["sha256"]:
            drift.append(f"{each['dest']} {'is changed' if digest else 'is gone'}")
    drift += [f"{name} has {each['drop_ins']}" for name, each in states.items() if each["drop_ins"]]
    return {
        "release": former["id"],
        "target": former["target"],
        "holder": holder(),
        "states": states,
        "drift": drift,
        "reload": sorted(name for name, each in states.items() if each["reload"]),
        "outcome": read_json(state_dir() / "outcome.json", None),
        "history": read_json(state_dir() / "history.json", []),
    }


def problems(data, former, starting):
    """Whatever would make the change fail, found before anything stops."""
    needs, found = data["needs"], []
    # Root cannot tell who else may read a file of another target: podman keeps its own.
    if data["release"]["target"] == "quadlet":
        found += [
            f"secret {name} is not known to podman"
            for name in needs["secrets"]
            if run("podman", "secret", "inspect", name).returncode
        ]
    else:
        folder = Path(os.environ.get("MODELC_SECRETS_DIR") or SECRETS)
        for name in needs["secrets"]:
            try:
                open_to_others = (folder / name).stat().st_mode & 0o077
            except OSError:
                found.append(f"secret {folder / name} is not there")
            else:
                if open_to_others:
                    found.append(f"secret {folder / name} can be read by others: chmod 600")
    for each in needs["engines"]:
        if each["replica"] not in starting:
            continue
        done = run(each["program"], "--version", timeout=ASK_SECONDS)
        lines = done.stdout + done.stderr
        if done.returncode == NO_PROGRAM:
            found.append(f"{each['program']} is not there")
        elif run("grep", "-Eq", "-e", each["wanted"], text=lines).returncode:
            known = run("grep", "-E", "-e", each["readable"], text=lines).stdout.strip()
            if known:
                found.append(f"{each['program']} is {known}, and {each['title']} is planned")
    found += [f"{path} is not there" for path in needs["devices"] if not Path(path).exists()]
    for each in needs["models"]:
        if each["replica"] in starting and not Path(each["path"]).exists():
            found.append(f"model {each['path']} is not there")
    own = {each["port"] for each in former["replicas"]}
    for each in data["release"]["replicas"]:
        if each["name"] in starting and each["published"] and each["port"] not in own:
            owner = listener(
                each["port"],
                {f"modelc-{name}.service" for step in data["steps"] for name in step["stop"]},
            )
            if owner:
                found.append(f"port {each['port']} is taken by {owner}")
    if os.geteuid() == 0:
        state_dir().mkdir(parents=True, exist_ok=True)
        for folder in (state_dir(), Path("/etc")):
            if shutil.disk_usage(folder).free < needs["disk_bytes"]:
                found.append(f"less than {needs['disk_bytes'] >> 20} MiB are free on {folder}")
    return found + strangers(needs["vram"], former)


def listener(port, stopping):
    """Who listens on a port, but for units that stop in this change."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            pass
        else:
            return None
    words = run(
        "ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes", f"sport = :{port}"
    ).stdout
    for pid in re.findall(r"pid=([0-9]+)", words):
        try:
            group = Path(f"/proc/{pid}/cgroup").read_text()
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
        unit = re.search(r"([^/\n]+\.service)$", group, re.MULTILINE)
        if unit and unit[1] in stopping:
            return None
        return f"{unit[1]}, {name}, pid {pid}" if unit else f"{name}, pid {pid}"
    return "somebody"


def strangers(vram, former):
    """GPUs on which processes that are not ours leave less than is planned, with their names."""
    rows = query("--query-compute-apps=gpu_uuid,pid,used_memory,process_name")
    totals = {row[0]: row[1] for row in query("--query-gpu=uuid,memory.total") if len(row) == 2}
    at, ours, found = runner(former), set(), []
    for each in former["replicas"] if rows else ():
        ours |= at.pids(each["name"])
    for each in vram:
        if each["uuid"] not in totals:
            if totals and each["uuid"] and not each["uuid"].startswith("MIG-"):
                found.append(f"GPU {each['uuid']} is not here")
            continue
        others = [
            r
            for r in rows
            if len(r) == 4 and r[0] == each["uuid"] and int(r[1]) not in ours and r[2].isdigit()
        ]
        used = sum(int(row[2]) for row in others) << 20
        if used and (int(totals[each["uuid"]]) << 20) - used < each["bytes"]:
            names = ", ".join(f"{row[3]} (pid {row[1]}, {row[2]} MiB)" for row in others)
            found.append(f"GPU {each['uuid']} is used by {names}")
    return found


def query(what):
    done = run("nvidia-smi", what, "--format=csv,noheader,nounits", timeout=60)
    return (
        [[word.strip() for word in line.split(",")] for line in done.stdout.splitlines()]
        if not done.returncode
        else []
    )


# --- The beginning of a change -------------------------------------------------------------------


def deliver(data, texts):
    """Refuses, or stores the release and begins the change; says which."""
    release, former = data["release"], committed()
    now = look()
    if now["holder"]:
        raise Refused(f"locked: {now['holder']}")
    if former["id"] not in (data["base"], release["id"]):
        raise Refused(
            f"stale: this host has release {former['id']}, and the plan was made for {data['base']}"
        )
    if now["drift"] and not data["policy"].get("overwrite_drift"):
        raise Refused(f"drift: {'; '.join(now['drift'])}")
    well = all(each["active"] for each in now["states"].values())
    if former["id"] == release["id"] and well and not now["drift"]:
        return {"outcome": "unchanged", "release": release["id"]}
    again = former["id"] == release["id"]
    steps = resumed(release, now) if again else data["steps"]
    starting = {name for step in steps for name in step["start"]}
    found = problems({**data, "steps": steps}, former, starting)
    foreign = (
        []
        if again
        else [each["dest"] for each in release["files"] if is_foreign(each["dest"], former)]
    )
    found += [f"{dest} is not modelc's, and in its way" for dest in foreign]
    if found:
        raise Refused(f"precondition: {'; '.join(found)}")
    store(release, texts)
    runner(release).validate(release)
    return begin(release, steps, former["id"], data["policy"], data.get("who", "somebody"))


def resumed(release, now):
    """What of a release that the host has does not run is started once more."""
    names = [
        each["name"] for each in release["replicas"] if not now["states"][each["name"]]["active"]
    ]
    return [{"stop": [], "start": names}]


def is_foreign(dest, former):
    path = place(dest)
    if dest in {each["dest"] for each in former["files"]} or not path.exists():
        return False
    with path.open("rb") as file:
        return OURS not in file.read(400)


def store(release, texts):
    if len(texts) != len(release["files"]):
        raise Refused("damaged: the bundle has not as many files as it says")
    for each, text in zip(release["files"], texts):
        data = text.encode()
        if hashlib.sha256(data).hexdigest() != each["sha256"]:
            raise Refused(
                f"damaged: {each['dest']} is not what the plan says; compile anew, or bring it back with git"
            )
        put(copy_of(release, each["dest"]), data, int(each["mode"], 8))
    put(state_dir() / "releases" / release["id"] / "release.json", release)


def begin(release, steps, base, policy, who):
    """Starts the process that changes the host, and is neither our child nor of our session."""
    token = f"{release['id']}-{os.urandom(4).hex()}"
    root = state_dir()
    program = root / "modelc_host.py"
    put(program, PROGRAM.encode(), 0o755)
    put(
        root / "runs" / f"{token}.json",
        {"release": release["id"], "steps": steps, "base": base, "policy": policy, "who": who},
    )
    if release["target"] != "script" and shutil.which("systemd-run"):
        done = run(
            "systemd-run",
            "--quiet",
            f"--unit={SWITCH_UNIT}",
            "--collect",
            f"--description=modelc changes to {release['id']} for {who}",
            "--property=TimeoutStopSec=5min",
            sys.executable,
            str(program),
            "switch",
            token,
        )
        if done.returncode:
            raise Refused(f"locked: {said(done)}")
    else:
        subprocess.Popen(
            [sys.executable, str(program), "switch", token],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return {"outcome": "begun", "run": token, "release": release["id"]}


def rollback(wanted, who):
    former = committed()
    history = [each for each in read_json(state_dir() / "history.json", []) if each != former["id"]]
    if not wanted and not history:
        raise Refused("unknown: this host has no former release")
    release = stored(wanted or history[-1])
    if release["id"] == former["id"]:
        return {"outcome": "unchanged", "release": former["id"]}
    if holder():
        raise Refused(f"locked: {holder()}")
    return begin(release, difference(former, release), former["id"], {"figures": "warn"}, who)


def difference(former, release):
    """One step from one release to another: in seconds, and without sparing anybody."""
    old = {each["name"]: each["digest"] for each in former["replicas"]}
    new = {each["name"]: each["digest"] for each in release["replicas"]}
    if former["target"] != release["target"]:
        old = dict.fromkeys(old, "")
    stop = [name for name in reversed(list(old)) if new.get(name) != old[name]]
    return [{"stop": stop, "start": [name for name in new if old.get(name) != new[name]]}]


def wait(token):
    if not re.fullmatch(r"[0-9a-z]+-[0-9a-f]+", token):
        raise Refused("unknown: there is no such run")
    path = state_dir() / "runs" / f"{token}.outcome.json"
    end = time.monotonic() + WAIT_SECONDS
    gone_since = None
    while time.monotonic() < end:
        found = read_json(path, None)
        if found and found["outcome"] != "running":
            return found
        if holder() is None:
            gone_since = gone_since or time.monotonic()
            if time.monotonic() - gone_since > 10:
                return {
                    "outcome": "broken",
                    "why": "the change has ended without a word",
                    "release": committed()["id"],
                }
        else:
            gone_since = None
        time.sleep(0.2)
    return read_json(path, {"outcome": "running", "stage": "begins"})


# --- The change ----------------------------------------------------------------------------------


class Change:
    """One change, in the process that carries it out."""

    def __init__(self, token):
        self.token = token
        request = read_json(state_dir() / "runs" / f"{token}.json", None)
        self.release, self.former = stored(request["release"]), committed()
        self.steps, self.base, self.policy = request["steps"], request["base"], request["policy"]
        self.who = request["who"]
        self.figures, self.warnings = {}, []
        self.touched = set()
        self.began = time.time()

    def tell(self, outcome, stage="", why=""):
        found = {
            "outcome": outcome,
            "stage": stage,
            "why": why,
            "run": self.token,
            "release": committed()["id"],
            "wanted": self.release["id"],
            "figures": self.figures,
            "warnings": self.warnings,
            "seconds": round(time.time() - self.began),
            "at": int(time.time()),
        }
        put(state_dir() / "runs" / f"{self.token}.outcome.json", found)
        if outcome != "running":
            put(state_dir() / "outcome.json", found)
            print(json.dumps(found), flush=True)

    def carry_out(self):
        with (state_dir() / "lock").open("a+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.tell("refused", why=f"locked: {holder()}")
                return 1
            lock.truncate(0)
            lock.write(json.dumps({"who": self.who, "run": self.token}).encode())
            lock.flush()
            # Between the look and the lock another change may have come to its end.
            self.former = committed()
            if self.former["id"] not in (self.base, self.release["id"]):
                self.tell("refused", why=f"stale: this host has release {self.former['id']} by now")
                return 1
            try:
                return self._locked()
            except Exception as error:
                self._take_back(error)
                return 1

    def _locked(self):
        self._keep_what_is_there()
        put(
            state_dir() / "pending.json",
            {"run": self.token, "from": self.former["id"], "to": self.release["id"]},
        )
        self._arm()
        old, new = runner(self.former), runner(self.release)
        known = {each["name"]: each for each in self.release["replicas"]}
        installed = False
        for number, step in enumerate(self.steps):
            self.tell(
                "running",
                stage=f"step {number + 1} of {len(self.steps)}: stop {' '.join(step['stop']) or 'nothing'}",
            )
            self.touched |= {*step["stop"], *step["start"]}
            hook("drain", step["stop"])
            old.stop(step["stop"])
            if not installed:
                install(self.release)
                new.refresh(self.release)
                installed = True
            starting = [known[name] for name in step["start"]]
            if starting:
                self.tell(
                    "running",
                    stage=f"step {number + 1} of {len(self.steps)}: start {' '.join(step['start'])}",
                )
                new.start(starting)
                self._gate(new, starting, 0)
                hook("ready", step["start"])
        started = [known[name] for step in self.steps for name in step["start"]]
        if not installed:
            install(self.release)
            new.refresh(self.release)
        if started:
            self.tell("running", stage="watch")
            self._gate(new, started, self.policy.get("window_seconds", 12))
        self._remove_gone(old)
        self._commit()
        self.tell("done")
        return 0

    def _keep_what_is_there(self):
        """What was installed by hand, so that the way back leads there."""
        if self.former["id"] != "none":
            return
        files = []
        for each in self.release["files"]:
            path = place(each["dest"])
            if path.exists():
                data = path.read_bytes()
                found = {
                    "dest": each["dest"],
                    "mode": oct(path.stat().st_mode & 0o777),
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
                files.append(found)
                put(copy_of(NONE, each["dest"]), data, int(found["mode"], 8))
        ran = [
            {"name": name, "digest": "", "after": []}
            for step in self.steps
            for name in step["stop"]
        ]
        self.former = {**NONE, "target": self.release["target"], "files": files, "replicas": ran}
        put(state_dir() / "releases" / "none" / "release.json", self.former)

    def _arm(self):
        """A reboot in the middle ends the change: then the files of before are brought back."""
        if self.release["target"] not in ("systemd", "quadlet"):
            return
        names = [
            each["name"] for release in (self.former, self.release) for each in release["replicas"]
        ]
        before = " ".join(dict.fromkeys(f"modelc-{name}.service" for name in names))
        text = (
            f"# Written by modelc; it is there while a change is.\n[Unit]\nDescription=modelc goes back to the release before a change\n"
            f"ConditionPathExists={state_dir()}/pending.json\nBefore=modelc.target {before}\n[Service]\nType=oneshot\n"
            f"ExecStart={sys.executable} {state_dir()}/modelc_host.py resume\n[Install]\nWantedBy=multi-user.target\n"
        )
        put(Path("/etc/systemd/system") / RESUME_UNIT, text.encode(), 0o644)
        run("systemctl", "enable", "--quiet", RESUME_UNIT)

    def _gate(self, at, replicas, window):
        before = {each["name"]: at.state(each["name"]) for each in replicas}
        began = time.monotonic()
        if not window:
            for each in replicas:
                self._asked(each)
        time.sleep(max(0, window - (time.monotonic() - began)))
        for each in replicas:
            name = each["name"]
            now = at.state(name)
            if not now["active"]:
                raise Failed(f"gate: {name} is {now['state']}")
            if (now["invocation"], now["restarts"]) != (
                before[name]["invocation"],
                before[name]["restarts"],
            ):
                raise Failed(f"gate: {name} has restarted")
            if not window and self.policy.get("figures", "fail") != "off":
                self._compared(at, each, now["invocation"])

    def _asked(self, replica):
        """The served name, and one token: a server can be healthy and answer nobody."""
        if not replica["url"]:
            return
        models = ask(replica, "/v1/models")
        names = [each.get("id") for each in models.get("data", [])]
        if replica["served"] not in names:
            raise Failed(
                f"gate: {replica['name']} serves {', '.join(map(str, names)) or 'nothing'}, and not {replica['served']}"
            )
        path, body = ASKS[replica["task"]]
        ask(replica, path, {"model": replica["served"], **body})

    def _compared(self, at, replica, invocation):
        """What the engine says of itself, against the plan."""
        text = at.log(replica["name"], invocation)
        tokens = re.findall(replica["tokens_line"], text) if replica["tokens_line"] else []
        layers = re.findall(replica["layers_line"], text) if replica["layers_line"] else []
        found = {
            "kv_tokens": int(tokens[-1].replace(",", "")) if tokens else None,
            "gpu_layers": int(layers[-1]) if layers else None,
            "gpu_bytes": used_bytes(at.pids(replica["name"])),
        }
        self.figures[replica["name"]] = found
        wrong = []
        least = replica["kv_tokens"] * (1000 - self.policy.get("band_permille", 50)) // 1000
        if found["kv_tokens"] is not None and replica["kv_tokens"] and found["kv_tokens"] < least:
            wrong.append(
                f"{replica['name']} has {found['kv_tokens']:,} KV tokens, and {replica['kv_tokens']:,} are planned"
            )
        if (
            found["gpu_layers"] is not None
            and replica["gpu_layers"]
            and found["gpu_layers"] < replica["gpu_layers"]
        ):
            wrong.append(
                f"{replica['name']} has {found['gpu_layers']} layers on GPUs, and {replica['gpu_layers']} are planned"
            )
        if found["gpu_bytes"] and found["gpu_bytes"] > replica["share_bytes"]:
            wrong.append(
                f"{replica['name']} holds {found['gpu_bytes'] >> 20:,} MiB of GPUs, and {replica['share_bytes'] >> 20:,} MiB are planned"
            )
        self.warnings += wrong
        if wrong and self.policy.get("figures", "fail") == "fail":
            raise Failed(f"figures: {'; '.join(wrong)}")

    def _remove_gone(self, old):
        kept = {each["dest"] for each in self.release["files"]}
        gone = [each["dest"] for each in self.former["files"] if each["dest"] not in kept]
        if not self.release["replicas"]:
            old.forget()
        for dest in gone:
            place(dest).unlink(missing_ok=True)
        if gone:
            runner(self.release if self.release["target"] else self.former).refresh(self.release)

    def _commit(self):
        """From the rename on the new release is the host's; nothing after it may fail."""
        root = state_dir()
        if self.release["id"] == "none":
            (root / "release.json").unlink(missing_ok=True)
        else:
            put(root / "release.json", self.release, 0o644)
        disarm()
        history = [
            each for each in read_json(root / "history.json", []) if each != self.release["id"]
        ]
        history = [*history, self.release["id"]][-KEPT_RELEASES:]
        put(root / "history.json", history)
        for path in (root / "releases").iterdir():
            if path.name not in history and path.name != "none":
                shutil.rmtree(path, ignore_errors=True)
        for path in sorted((root / "runs").iterdir(), key=lambda each: each.stat().st_mtime)[:-20]:
            path.unlink(missing_ok=True)

    def _take_back(self, error):
        why = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
        self.tell("running", stage="takes it back", why=why)
        try:
            restore(self.former, self.release, self.touched)
        except Exception as again:
            self.tell("broken", why=f"{why}; and on the way back: {again}")
        else:
            disarm()
            self.tell("rolled_back", why=why)


def hook(name, replicas):
    """A program of this host's owner, who alone may write it: takes replicas out of a gateway
    before they stop, or back in when they serve."""
    path = Path("/etc/modelc/hooks") / name
    try:
        found = path.stat()
    except OSError:
        return
    if replicas and os.geteuid() == 0 and found.st_uid == 0 and not found.st_mode & 0o022:
        done = run(str(path), *replicas, timeout=HOOK_SECONDS)
        if done.returncode:
            raise Failed(f"hook: {path} ends with {done.returncode}: {said(done)}")


def install(release):
    for each in release["files"]:
        put(place(each["dest"]), copy_of(release, each["dest"]).read_bytes(), int(each["mode"], 8))


def restore(former, failed, touched, start=True):
    """Makes the host be the former release again; what runs as it wants is left alone."""
    at = runner(failed)
    if start:
        at.stop([each["name"] for each in reversed(failed["replicas"]) if each["name"] in touched])
    if not former["replicas"]:
        at.forget()
    kept = {each["dest"] for each in former["files"]}
    for each in failed["files"]:
        if each["dest"] not in kept:
            place(each["dest"]).unlink(missing_ok=True)
    install(former)
    back = runner(former if former["target"] else failed)
    back.refresh(former)
    if start and former["replicas"]:
        back.start(former["replicas"])
        down = [
            each["name"] for each in former["replicas"] if not back.state(each["name"])["active"]
        ]
        if down:
            raise Failed(f"{', '.join(down)} does not run")


def resume():
    """At boot, after one that ended a change: before any replica starts."""
    pending = read_json(state_dir() / "pending.json", None)
    if pending is None:
        return
    if committed()["id"] != pending["to"]:
        restore(stored(pending["from"]), stored(pending["to"]), set(), start=False)
        found = {
            "outcome": "rolled_back",
            "why": "the host was booted anew in the middle of the change",
            "release": pending["from"],
            "run": pending["run"],
            "at": int(time.time()),
        }
        put(state_dir() / "outcome.json", found)
        put(state_dir() / "runs" / f"{pending['run']}.outcome.json", found)
    disarm()
    run("systemctl", "start", "--no-block", "modelc.target")


def disarm():
    (state_dir() / "pending.json").unlink(missing_ok=True)
    path = Path("/etc/systemd/system") / RESUME_UNIT
    if os.geteuid() == 0 and path.exists():
        run("systemctl", "disable", "--quiet", RESUME_UNIT)
        path.unlink(missing_ok=True)


def used_bytes(pids):
    rows = query("--query-compute-apps=pid,used_memory")
    return sum(
        int(row[1]) << 20
        for row in rows
        if len(row) == 2 and row[1].isdigit() and int(row[0]) in pids
    )


def ask(replica, path, body=None):
    """The JSON of an answer. The key is read here, and stays here."""
    headers = {"content-type": "application/json"}
    if replica["key"]:
        folder = Path(os.environ.get("MODELC_SECRETS_DIR") or SECRETS)
        try:
            headers["authorization"] = "Bearer " + (folder / replica["key"]).read_text().strip()
        except OSError:
            raise Failed(f"gate: {folder / replica['key']} cannot be read") from None
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(replica["url"] + path, data, headers)
    try:
        with DIRECT.open(request, timeout=ASK_SECONDS) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        raise Failed(f"gate: {replica['name']} answers {path} with {error}") from None


def served(release):
    """What each replica serves now; None where it does not answer."""
    found = {}
    for each in release["replicas"]:
        try:
            found[each["name"]] = (
                [m.get("id") for m in ask(each, "/v1/models").get("data", [])]
                if each["url"]
                else None
            )
        except Failed:
            found[each["name"]] = None
    return found


def status():
    former, at = committed(), runner(committed())
    return {
        **look(),
        "served": served(former),
        "gpu_bytes": {
            each["name"]: used_bytes(at.pids(each["name"])) for each in former["replicas"]
        }
        if query("--query-gpu=uuid")
        else {},
        "replicas": {each["name"]: each["digest"] for each in former["replicas"]},
    }


def main(words):
    global PROGRAM
    command = words[0] if words else "look"
    if command == "switch":
        return Change(words[1]).carry_out()
    if command == "resume":
        return resume() or 0
    PROGRAM = os.environ.pop("MODELC_PROGRAM", "") or (
        Path(__file__).read_text("utf-8") if "__file__" in globals() else ""
    )
    try:
        if command == "deliver":
            bundle = json.loads(sys.stdin.read())
            PROGRAM = bundle[2]
            answer = deliver(
                {**json.loads(bundle[0]), "who": bundle[3], "policy": bundle[4]}, bundle[1]
            )
        elif command == "wait":
            answer = wait(words[1])
        elif command == "rollback":
            bundle = json.loads(sys.stdin.read())
            PROGRAM = bundle[0]
            answer = rollback(bundle[1], bundle[2])
        else:
            answer = status()
    except Refused as refusal:
        answer = {"outcome": "refused", "why": str(refusal)}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
