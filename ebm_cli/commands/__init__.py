"""One verb, one file: `ebm train` calls `train` in `train.py`, a plain function of the composed config."""
