"""A run on disk: its directory and lock, checkpoints, stored config, record, and the model loaded from it; layer 6,
imported by layers 7 and above."""
