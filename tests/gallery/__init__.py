"""`make gallery`: every picture of docs/gallery, from the commands that docs/gallery/index.md shows."""
