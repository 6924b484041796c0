"""Gates: the bounded hand-offs between segments, and what else holds items between them."""
