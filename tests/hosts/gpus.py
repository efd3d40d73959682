"""Nodes of GPUs that are not there.

To open one is an error, and which one says whether the process was let through to the kernel.
"""

from __future__ import annotations

from tests.hosts.machine import Machine

REFUSED, NO_SUCH_GPU = "EPERM", "ENXIO"

# The nodes appear late in the boot, as those of the real driver do.
_SERVICE = """
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sleep 1
ExecStart=mknod -m 666 /dev/nvidia0 c 195 0
ExecStart=mknod -m 666 /dev/nvidia1 c 195 1
ExecStart=mknod -m 666 /dev/nvidiactl c 195 255
ExecStart=mknod -m 666 /dev/nvidia-uvm c 510 0
ExecStart=mknod -m 666 /dev/nvidia-uvm-tools c 510 1
[Install]
WantedBy=multi-user.target
"""

# Their names for containers, as `nvidia-ctk cdi generate` writes them.
_NAMES = """
cdiVersion: "0.5.0"
kind: nvidia.com/gpu
devices:
- {name: "0", containerEdits: {deviceNodes: [{path: /dev/nvidia0}]}}
- {name: "1", containerEdits: {deviceNodes: [{path: /dev/nvidia1}]}}
containerEdits:
  deviceNodes: [{path: /dev/nvidiactl}, {path: /dev/nvidia-uvm}, {path: /dev/nvidia-uvm-tools}]
"""


def make_gpus(machine: Machine) -> None:
    """Two GPUs, now and after each boot."""
    machine.write("/etc/systemd/system/nvidia-persistenced.service", _SERVICE)
    machine.write("/etc/cdi/nvidia.yaml", _NAMES)
    machine.run("systemctl enable --now nvidia-persistenced")
