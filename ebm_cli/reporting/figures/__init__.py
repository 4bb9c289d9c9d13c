"""Figures of a model beside its data, one file a kind; layer 6, imported by layers 7 and above."""
