"""``python -m adakd`` is the command ``adakd``."""

from adakd.cli import main

if __name__ == "__main__":
    main()
