"""Sources, sinks and stores beyond memory; a leaf: what needs an optional package is a file of its own."""
