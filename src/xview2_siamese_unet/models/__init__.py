"""The nets, their checkpoints, and what leads from grey values to damage classes."""
