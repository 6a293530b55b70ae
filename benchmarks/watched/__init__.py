"""Benchmarks that asv watches from commit to commit: `asv run`, then `asv publish` and `asv preview`."""
