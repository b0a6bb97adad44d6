"""Paired acquisitions: the same seasons in every year (method section 2)."""
