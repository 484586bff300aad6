"""Parameters as frozen models, one for each section of the configuration; unknown keys are refused."""
