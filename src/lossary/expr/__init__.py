"""The expression graph behind `lossary.ops`: tracing, primitives, derivative."""
