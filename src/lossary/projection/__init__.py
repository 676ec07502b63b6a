"""A loss of the logits of a linear layer, chunk by chunk: they are never stored."""
