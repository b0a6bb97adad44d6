"""Paired acquisitions: the same seasons in every year (METHOD section 2)."""
