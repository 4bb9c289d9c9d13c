"""The machine: devices, threads, memory, the CPU and installed versions; layer 1, imported by layers 2 and above."""
