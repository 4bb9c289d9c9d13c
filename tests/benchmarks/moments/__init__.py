"""Gradients until second moments are right, ours and those of blackjax."""
