"""The interface for programs, under /v1."""
