"""Adaptation of an assessment to its event: features of buildings, a head fitted on few labels, what to label next."""
