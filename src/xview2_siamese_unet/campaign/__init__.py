"""Many scenes of one event: from a catalogue of acquisitions to one table of buildings."""
