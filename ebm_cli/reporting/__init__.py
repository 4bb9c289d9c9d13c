"""Output of a run: terminal, TensorBoard, metrics.jsonl, figures, tables, verdicts; layer 6, imported by layers 7 and
above."""
