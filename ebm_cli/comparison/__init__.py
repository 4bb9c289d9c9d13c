"""Comparison of runs: groups over seeds, significance tests, tables, the HTML page and its pictures; layer 7, imported
by layers 8 and above."""
