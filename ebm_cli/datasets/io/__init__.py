"""Readers of data files (arrays, tables, images) and downloads; layer 2, imported by layers 3 and above."""
