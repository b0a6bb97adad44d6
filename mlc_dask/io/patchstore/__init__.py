"""Patch stores: Zarr groups written patch by patch, which cannot be read half-filled."""
