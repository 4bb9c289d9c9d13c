"""What a run shows and leaves behind: terminal, TensorBoard, metrics file, pictures, tables."""
