"""minidiff: how machines turn text into pictures, every part built from scratch."""

import torch  # noqa: F401  (the one heavy import; everything else is imported where it is used)

__version__ = "0.1.0"
