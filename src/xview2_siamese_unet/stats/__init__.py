"""Numbers about the data: counts, weights, channel moments."""
