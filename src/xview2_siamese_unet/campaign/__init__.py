"""Many scenes of one event: from a catalogue of acquisitions to a plan of assessments."""
