"""What losses see: single items, rows of classes, overlaps.

A structure owns shapes, weights, reduction, kernels and adapters; a member is its
formula.
"""
