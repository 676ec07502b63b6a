"""Printers of a formula: array code, fused kernels, SQL and LaTeX."""
