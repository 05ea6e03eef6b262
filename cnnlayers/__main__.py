"""`python -m cnnlayers`: the same as the command `cnnlayers`."""

import sys

from .command.main import main

if __name__ == "__main__":
    sys.exit(main())
