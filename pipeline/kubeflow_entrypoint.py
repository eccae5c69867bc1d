"""What compiled pipelines, those of earlier versions too, start by this name; see `pipeline.runners.entrypoint`."""

import sys

from pipeline.runners.entrypoint import main

if __name__ == "__main__":
    main(sys.argv[1:])
