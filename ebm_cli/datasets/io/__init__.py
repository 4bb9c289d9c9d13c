"""Readers of data files (arrays, tables, images), downloads, unpickling; layer 2, imported by layers 3 and above."""
