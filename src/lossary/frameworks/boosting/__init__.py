"""What the adapters of the boosters share."""
