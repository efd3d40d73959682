"""Makes `python -m compiler` the same as `modelc`."""

from compiler.cli import main

if __name__ == "__main__":
    main()
