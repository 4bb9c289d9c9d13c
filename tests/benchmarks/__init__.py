"""Ours against the peers, on the same network, data, batch and threads: `make bench`.

A row of a family (`sm`, `chains`, …) is measured in a process of its own and written to docs/benchmarks.json as soon as
it is done, so that a run on a shared machine is resumed row by row; docs/benchmarks.md and .png are drawn from that
file. See `harness` for how a time comes about, and `render` for what is said of it.
"""
