"""What stands in the units of a host."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from compiler.emit import emit
from compiler.emit.systemd import _WAIT_FOR_HEALTH
from compiler.ir.plan import PlannedCompanion, Replica, Share
from tests.generators.plans import gpu_replica, plan, replica, share, vllm_replica
from tests.requires import require_tool


def check_unit(made: Replica, has: str = "", lacks: str = "") -> None:
    """Looks for whole lines in the unit of a replica, and for the starts of lines."""
    unit = text_of(made, f"modelc-{made.name}.service").splitlines()
    for line in filter(None, has.split("\n")):
        assert line.strip() in [found.strip() for found in unit]
    for start in lacks.split():
        assert not [found for found in unit if found.startswith(start)]


def text_of(made: Replica, end: str) -> str:
    """The one artifact whose path ends so."""
    (artifact,) = (a for a in emit(plan([made])) if a.path.endswith(end))
    return artifact.text


def test_argv_starts_at_the_program_and_nothing_is_expanded() -> None:
    check_unit(
        replica(),
        'ExecStart=:/bin/sh \\\n"-c" \\\n"/usr/local/bin/llama-server" \\\n"--model" \\',
    )


def test_a_gpu_replica_may_open_the_nodes_of_its_gpus_and_no_others() -> None:
    first, second = (
        share(0, "GPU-6f1c0000-0000-4000-8000-000000000000", minor=2),
        share(1, "GPU-b2aa0000-0000-4000-8000-000000000001", minor=0),
    )
    check_unit(
        gpu_replica(shares=[first, second]),
        """
        DevicePolicy=closed
        DeviceAllow=/dev/nvidia2 rw
        DeviceAllow=/dev/nvidia0 rw
        DeviceAllow=/dev/nvidiactl rw
        DeviceAllow=/dev/nvidia-uvm rw
        DeviceAllow=/dev/nvidia-uvm-tools rw
        """,
        lacks="DeviceAllow=/dev/nvidia1 DeviceAllow=char-",
    )


@pytest.mark.parametrize(
    "shares",
    [[share(1)], [share(0, "GPU-6f1c0000-0000-4000-8000-000000000000", minor=2), share(1)]],
)
def test_a_replica_is_never_denied_a_gpu_whose_node_the_plan_does_not_know(
    shares: list[Share],
) -> None:
    check_unit(
        gpu_replica(shares=shares),
        """
        DevicePolicy=closed
        DeviceAllow=char-nvidia rw
        DeviceAllow=char-nvidia-frontend rw
        DeviceAllow=/dev/nvidiactl rw
        DeviceAllow=/dev/nvidia-uvm rw
        DeviceAllow=/dev/nvidia-uvm-tools rw
        Environment="CUDA_VISIBLE_DEVICES=1"
        Environment="CUDA_DEVICE_ORDER=PCI_BUS_ID"
        """,
        lacks="DeviceAllow=/dev/nvidia0 DeviceAllow=/dev/nvidia1 DeviceAllow=/dev/nvidia2",
    )


def test_a_cpu_replica_gets_no_gpu() -> None:
    check_unit(replica(), "DevicePolicy=closed", lacks="DeviceAllow=")


def test_a_mig_slice_is_allowed_by_class() -> None:
    slice_of = share(3, "MIG-6f1c0000-0000-0000-0000-000000000000")
    check_unit(
        gpu_replica(shares=[slice_of]),
        "DeviceAllow=char-nvidia-caps rw",
        lacks="DeviceAllow=/dev/nvidia3",
    )


def test_a_replica_starts_after_those_on_its_gpus() -> None:
    check_unit(gpu_replica(), "After=modelc-chat-1.service", lacks="Requires= BindsTo=")


def test_a_replica_has_the_time_of_its_plan_to_start() -> None:
    check_unit(vllm_replica(), "TimeoutStartSec=900")


def test_a_replica_logs_under_its_name() -> None:
    check_unit(replica(), "SyslogIdentifier=modelc-small-1")


def test_shared_memory_is_the_replicas_own_and_as_large_as_the_hosts() -> None:
    check_unit(replica(), "TemporaryFileSystem=/dev/shm:mode=1777,size=50%")


def test_folders_belong_to_the_replica() -> None:
    check_unit(replica(), "StateDirectory=modelc-small-1\nCacheDirectory=modelc-small-1")


def test_models_are_read_only_when_they_are_files() -> None:
    check_unit(replica(), "BindReadOnlyPaths=/srv/models", lacks="BindPaths= ReadWritePaths=")


def test_models_in_a_home_are_bound_and_all_others_are_there() -> None:
    made = replica(read_dirs=["/home/me/models", "/mnt/a b"])
    check_unit(made, "BindReadOnlyPaths=/home/me/models", lacks="/mnt/a")


@pytest.mark.parametrize("folder", ["/tmp/models", "/var/tmp/x", "/root/m", "/run/user/0/m"])  # noqa: S108
def test_a_folder_that_the_unit_would_hide_is_bound(folder: str) -> None:
    check_unit(replica(read_dirs=[folder]), f"BindReadOnlyPaths={folder}")


def test_models_are_writable_when_the_engine_fetches_a_draft_model() -> None:
    draft = PlannedCompanion(argument="draft", source="org/draft", revision=None, path="org/draft")
    check_unit(
        vllm_replica(model_path="/srv/models/m", companions=[draft]),
        "BindPaths=/srv/models/huggingface",
    )


def test_models_are_writable_when_the_engine_fetches_them() -> None:
    check_unit(
        vllm_replica(),
        "BindReadOnlyPaths=/srv/models\nBindPaths=/srv/models/huggingface\nUMask=0007",
    )
    check_unit(replica(), "UMask=0077", lacks="BindPaths=")
    folders = text_of(vllm_replica(), "tmpfiles.d/modelc.conf")
    assert "d /srv/models - - - -\n" in folders
    assert "d /srv/models/huggingface 2775 root modelc -\n" in folders


def test_each_replica_is_a_user_of_its_own_with_private_folders() -> None:
    long = f"{'a' * 50}-12"
    for name, user in (
        ("small-1", "modelc-small-1"),
        (long, f"modelc-aaaaaaaaaaaaaaa-{sha256(long.encode()).hexdigest()[:8]}"),
    ):
        made = replica(name)
        assert len(user) <= 31
        check_unit(made, f"User={user}\nCacheDirectoryMode=0700\nStateDirectoryMode=0700")
        users = text_of(made, "sysusers.d/modelc.conf").splitlines()
        assert f"m {user} modelc" in users
        assert [line for line in users if line.startswith(f"u {user} - ")]


def test_the_owner_of_models_that_are_files_stays() -> None:
    assert "d /srv/models - - - -\n" in text_of(replica(), "tmpfiles.d/modelc.conf")


def test_memory_is_not_limited() -> None:
    check_unit(replica(), lacks="MemoryMax= MemoryHigh=")


def test_the_path_starts_with_the_programs_of_the_engine() -> None:
    assert 'Environment="PATH=/opt/vllm/bin:/usr' in text_of(vllm_replica(), "chat-1.service")


def test_device_selection_is_not_in_the_file_of_variables() -> None:
    env = text_of(vllm_replica(), "env/chat-1.env")
    assert "CUDA" not in env
    assert 'HF_HOME="/srv/models/huggingface"\n' in env


def test_secrets_are_credentials() -> None:
    check_unit(vllm_replica(), "LoadCredential=HF_TOKEN:/etc/modelc/secrets/HF_TOKEN")
    check_unit(replica(), lacks="LoadCredential=")


def test_every_replica_is_in_the_slice_of_the_host() -> None:
    check_unit(replica(), "Slice=modelc.slice")
    assert "MemoryAccounting=yes\n" in text_of(replica(), "modelc.slice")


def test_the_target_wants_every_replica() -> None:
    assert "Wants=modelc-chat-1.service\n" in text_of(vllm_replica(), "modelc.target")


def test_waiting_ends_with_success_once_the_engine_answers() -> None:
    with unhealthy_twice() as url:
        assert wait_for_health(os.getpid(), url) == 0


def test_waiting_ends_with_failure_once_the_engine_is_gone() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert wait_for_health(ended.pid, "http://127.0.0.1:9/health") == 1


def wait_for_health(pid: int, url: str) -> int:
    """The exit status of what a unit does after its engine was started."""
    require_tool("curl")
    argv = ["/bin/sh", "-c", _WAIT_FOR_HEALTH, "modelc-wait", url]
    environ = {"MAINPID": str(pid), "PATH": os.environ["PATH"]}
    return subprocess.run(argv, env=environ, check=False, timeout=120).returncode


@contextlib.contextmanager
def unhealthy_twice() -> Iterator[str]:
    """The URL of a server that is healthy from the third question on."""
    answers = iter([503, 503])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(next(answers, 200))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/health"
        server.shutdown()
