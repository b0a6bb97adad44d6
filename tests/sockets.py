"""Sockets that processes offer, as the system tells them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import psutil


def listening(process: psutil.Process) -> list[tuple[int, str, int]]:
    """Process, address and port of every TCP or UDP socket that `process` and its children offer."""
    found = []
    for one in [process, *process.children(recursive=True)]:
        try:
            sockets = one.net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        found += [(one.pid, s.laddr.ip, s.laddr.port) for s in sockets if s.laddr and not s.raddr]
    return found


def loopback(found: Iterable[tuple[int, str, int]]) -> bool:
    return all(ipaddress.ip_address(address).is_loopback for _, address, _ in found)
