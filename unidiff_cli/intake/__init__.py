"""What comes in: a catalogue's rows and pictures, cleaned, decoded, grouped and accounted for. No torch, no network."""
