"""Validation: a random sample of an assessment, and estimates for all buildings from its labels."""
