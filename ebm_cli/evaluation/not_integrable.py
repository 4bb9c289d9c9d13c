"""The exception of everything that estimates log Z; its own module, since quadrature and annealing both raise it."""


class NotIntegrable(Exception):
    """There is no number for log Z; the message says why."""
