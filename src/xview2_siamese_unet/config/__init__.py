"""Parameters as strict, frozen models, one for each section of the configuration."""
