"""Where tasks run: clusters, the checks before any work, progress, and the dashboard."""
