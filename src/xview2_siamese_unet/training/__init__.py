"""Training: data, losses, the loop, calibration and checkpoints."""
