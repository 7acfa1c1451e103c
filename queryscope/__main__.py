"""Runs the command line as `python -m queryscope`. It must not hold anything else."""

from queryscope.cli import main

if __name__ == "__main__":
    main()
