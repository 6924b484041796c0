"""Guards at work: around one call, around many outputs; their limits, waits and what was sent."""
