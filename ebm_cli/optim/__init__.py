"""Parameter updates: a flat parameter buffer, fused Adam, gradient clipping, the moving average of the weights; layer
2, imported by layers 3 and above."""
