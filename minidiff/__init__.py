"""minidiff: how machines turn text into pictures, every part built from scratch."""

# Nothing is imported here, not even torch: `minidiff --help` answers at once.
__version__ = "0.1.0"
