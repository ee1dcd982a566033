"""`python -m minidiff` is the command `minidiff`."""

from .cli import main

raise SystemExit(main())
