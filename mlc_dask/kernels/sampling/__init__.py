"""Stratified random sampling that never depends on chunks or workers (method section 5)."""
