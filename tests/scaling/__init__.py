"""The model behind docs/concepts/scaling.md."""
