"""Letters: written while a run goes on, and sent in again."""
