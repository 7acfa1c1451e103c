"""Owns `python -m lab`. Must not know any command."""

import sys

from lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
