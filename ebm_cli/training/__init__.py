"""The one training loop, with its monitor, guard, rollback, early stopping, checkpoints and logs; layer 7, imported by
layers 8 and above."""
