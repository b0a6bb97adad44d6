"""Stratified random sampling that never depends on chunks or workers (METHOD section 5)."""
