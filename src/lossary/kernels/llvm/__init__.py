"""Kernels as LLVM code: vectors, functions, passes over arrays, and the compiler."""
