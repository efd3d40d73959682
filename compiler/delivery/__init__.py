"""Carrying a plan to its hosts: runs the emitted playbooks and judges what the hosts answer."""
