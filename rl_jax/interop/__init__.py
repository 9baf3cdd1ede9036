"""Kernels in other trainers: NumPy in and out, and adapters of their interfaces. None of these trainers is imported."""
