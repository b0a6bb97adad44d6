"""Bytes that survive: atomic writes, digests, locks, and what an interrupted step remembers."""
