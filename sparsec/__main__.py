"""`python -m sparsec` is the command line."""

from sparsec.cli import main

if __name__ == "__main__":
    main()
