"""The exception of estimators of log Z, in a module of its own because quadrature and annealing both raise it."""


class NotIntegrable(Exception):
    """log Z is not finite, or could not be computed; the message gives the reason."""
