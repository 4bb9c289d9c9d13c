"""Configs: groups and keys read as text, the schema of each verb, type checks, trust, and config to object; layer 1,
imported by layers 2 and above."""
