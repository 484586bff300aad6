"""Arrays on a pixel grid: burning, reading and writing."""
