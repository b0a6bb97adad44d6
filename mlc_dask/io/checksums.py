"""Sizes and checksums that products state of their files: decoders read a half-lost JPEG 2000 without an error."""

from __future__ import annotations

import hashlib
import zipfile
from functools import lru_cache
from pathlib import Path

from mlc_dask.data.errors import InputError

FIX = "download it again"
_READ_IT = "or set source.checksums = false to read it all the same"
_NAMES = {"MD5": "md5", "SHA3-256": "sha3_256", "SHA-256": "sha256"}
# Code and length of a multihash, as hexadecimal digits (multiformats.io/multihash).
_MULTIHASHES = {
    "1114": "sha1", "1220": "sha256", "1340": "sha512", "1440": "sha3_512", "1530": "sha3_384", "1620": "sha3_256",
    "d50110": "md5",
}  # fmt: skip
_BLOCK = 2**22


def of_manifest(name: str, digest: str) -> tuple[str, str] | None:
    """Algorithm and digest of a checksum in a SAFE manifest; None for other algorithms."""
    return (_NAMES[name.upper()], digest.strip().lower()) if name.upper() in _NAMES else None


def of_multihash(text: str) -> tuple[str, str] | None:
    """Algorithm and digest of a ``file:checksum`` (STAC's file extension); None for other algorithms and lengths."""
    lower = text.strip().lower()
    for prefix, algorithm in _MULTIHASHES.items():
        digest = lower.removeprefix(prefix)
        if digest != lower and len(digest) == 2 * hashlib.new(algorithm, usedforsecurity=False).digest_size:
            return algorithm, digest
    return None


def check_size(path: str, size: int, stated: int, fix: str = FIX) -> None:
    """Refuse a file whose size differs from the stated one.

    Raises
    ------
    InputError
        If the sizes differ.
    """
    if size != stated:
        raise InputError(f"{path} has {size} bytes, but its metadata states {stated}; {fix}, {_READ_IT}")


def check_digest(path: Path, member: str | None, stated: tuple[str, str]) -> None:
    """Refuse a file, or a member of a zip archive, whose digest differs from the stated one; it is read once.

    Raises
    ------
    InputError
        If the digests differ.
    """
    state = path.stat()
    algorithm, digest = stated
    found = _digest(path, member, algorithm, (state.st_size, state.st_mtime_ns))
    if found != digest:
        where = path if member is None else f"{path}, {member}"
        raise InputError(
            f"{where} is damaged: its {algorithm} is {found}, but its metadata states {digest}; {FIX}, {_READ_IT}"
        )


@lru_cache(maxsize=65_536)
def _digest(path: Path, member: str | None, algorithm: str, state: tuple[int, int]) -> str:
    """Digest of a file; `state`, its size and time, is part of the cache key."""
    made = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") if member is None else zipfile.Path(path, member).open("rb") as stream:
        while block := stream.read(_BLOCK):
            made.update(block)
    return made.hexdigest()
