"""Output of a run: terminal, TensorBoard, metrics.jsonl, figures and tables of results; layer 6, imported by layers 7
and above."""
