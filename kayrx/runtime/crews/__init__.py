"""Crews: several calls at once over one source, here or at a place."""
