"""Cubes: acquisitions stacked lazily, and opened again from their store."""

from __future__ import annotations
