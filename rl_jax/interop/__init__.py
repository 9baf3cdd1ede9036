"""Kernels for other trainers: NumPy in and out, and adapters to their interfaces. These trainers are not imported."""
