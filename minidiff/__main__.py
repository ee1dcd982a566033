"""`python -m minidiff` is the command `minidiff`."""

from .cli import main

if __name__ == "__main__":  # not in the processes that read pictures, where this module is imported again
    raise SystemExit(main())
