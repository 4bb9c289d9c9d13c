"""Parameter updates: a flat parameter buffer, fused Adam, gradient clipping, the moving average of the weights; layer
0, imported by layers 1 and above."""
