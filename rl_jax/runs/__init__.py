"""Run directories, manifests, metrics, samples, progress, reports: files and numbers. Knows no jax and no training."""
