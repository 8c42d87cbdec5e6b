"""`python -m ssd_common` is the command line `tinyssd`, for launchers that start a module."""

from ssd_common.cli import main

if __name__ == "__main__":
    main()
