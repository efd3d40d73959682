"""What holds of a deployed fleet whatever its target: each function fails where it does not."""

from __future__ import annotations

from tests.hosts.deployment import SECONDS_TO_HEALTH, SECRET, Deployment


def starts_one_after_another(host: Deployment, earlier: str, later: str) -> None:
    """The later replica starts once the earlier one, on the same GPU, has become healthy."""
    first, second = host.facts(earlier), host.facts(later)
    assert first.answered is not None
    assert first.started + SECONDS_TO_HEALTH <= first.answered <= second.started


def starts_without_waiting(host: Deployment, replica: str, other: str) -> None:
    """A replica starts before one that shares no GPU with it is healthy."""
    first = host.facts(other)
    assert first.answered is not None
    assert host.facts(replica).started < first.answered


def has_variables(host: Deployment, replica: str, planned: dict[str, str]) -> None:
    """The engine sees every one of these variables as it was planned."""
    environment = host.facts(replica).environment
    assert {name: environment.get(name) for name in planned} == planned


def container_has_command_line(host: Deployment, replica: str) -> None:
    """The engine gets the planned arguments, and its image knows the path of the program."""
    (program, *words), (planned, *arguments) = host.facts(replica).argv, host.argv(replica)
    assert program.endswith(planned)
    assert words == arguments


def container_has_variables(host: Deployment, replica: str) -> None:
    """All planned variables but the choice of GPUs: a container has its own only."""
    planned = host.fleet.replica(replica)["env"]
    planned.pop("CUDA_VISIBLE_DEVICES")
    has_variables(host, replica, planned)
    assert "CUDA_VISIBLE_DEVICES" not in host.facts(replica).environment


def no_artifact_holds_the_secret(host: Deployment) -> None:
    """What was emitted names secrets and holds none."""
    for path in host.artifacts().rglob("*"):
        assert path.is_dir() or SECRET not in path.read_text(encoding="utf-8")
