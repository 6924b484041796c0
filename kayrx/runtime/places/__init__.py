"""Places: worker threads and worker processes."""
