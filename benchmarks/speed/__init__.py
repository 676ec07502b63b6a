"""What `benchmarks/kernels.py` is made of."""
