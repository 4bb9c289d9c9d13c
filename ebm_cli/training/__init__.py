"""The one loop that trains every method, and what keeps a run from being lost."""
