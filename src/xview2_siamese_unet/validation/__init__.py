"""Validation: a random sample of an assessment, and what its labels say about all buildings."""
