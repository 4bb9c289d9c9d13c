"""The machine: devices, threads, memory, files, the CPU, versions and torch's private names; layer 1, imported by
layers 2 and above."""
