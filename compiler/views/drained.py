"""What is to stop on hosts that are drained: their folders hold no more of what has left."""

from __future__ import annotations

from compiler.ir.inventory import Target
from compiler.ir.plan import HostLedger, Plan
from compiler.views.markdown import code

# As docs/targets.md says under "Take a host or a GPU out of service".
_STOP: dict[Target, str] = {
    "systemd": "systemctl disable --now modelc.target && systemctl stop modelc.slice",
    "compose": "docker compose --project-name modelc down --remove-orphans",
    "quadlet": "systemctl disable --now modelc.target && systemctl stop modelc.slice",
    "script": "scripts/stop.sh",
}


def drained_lines(plan: Plan) -> list[str]:
    """A line of Markdown for each drained host."""
    return [
        _line(host, [each.name for each in plan.replicas if each.host == host.host])
        for host in plan.hosts
        if host.state == "drained"
    ]


def _line(host: HostLedger, kept: list[str]) -> str:
    if not kept:
        stop = code(_STOP[host.target])
        return f"- {code(host.host)}: nothing stays. Stop everything there: {stop}."
    names = ", ".join(map(code, kept))
    return f"- {code(host.host)}: only {names} may stay for now. Stop all others there."
