"""The verbs, one file each: `ebm train` calls `train` in `train.py`, a plain function of the composed config; layer 9,
imported by the `ebm` command and by `api`.

Beside its function a verb may have hooks: `validate(cfg)` refuses a config before anything is written,
`reserve(cfg, path, lock=...)` takes the output directory, and `finalize(cfg, sweep_dir)` runs after the last job of a
sweep.
"""
