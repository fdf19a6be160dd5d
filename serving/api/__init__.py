"""The analytics API under /v1."""
