"""Stratified random sampling that does not depend on chunks or workers (method section 5)."""
