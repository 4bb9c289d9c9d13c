"""The command line: verbs, help, completion, overrides, the Hydra app, output directories, error messages; layer 7,
imported by layers 8 and above."""
