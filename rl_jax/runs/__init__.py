"""Run directories, manifests, metrics, samples, progress and reports: files and numbers, without jax or training."""
