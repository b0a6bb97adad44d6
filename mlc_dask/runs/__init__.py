"""Do a step once, record it, and reuse it; nothing here knows of maps."""
