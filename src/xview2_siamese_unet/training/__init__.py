"""Training: data, losses, trainer, calibration and checkpoints."""
