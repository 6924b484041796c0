"""Sources: opened, followed, shared, and sought."""
