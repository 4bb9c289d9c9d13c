"""Benchmarks of `ebm` against other libraries, on the same network, data, batch and threads: `make bench`.

Each row of a family (`sm`, `ula`, …) is measured in its own process and written to docs/benchmarks.json as soon as it
is measured, so that an interrupted run can be resumed row by row; docs/benchmarks.md and .png are rendered from that
file. `harness` defines how a time is measured, `render` what the page shows.
"""
