"""The verbs, one file each: `ebm train` calls `train` in `train.py`, a plain function of the composed config; layer 9,
imported by nothing but the `ebm` command."""
