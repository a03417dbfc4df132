"""`python -m urbanvlm`."""

import sys

from urbanvlm.cli import main

sys.exit(main())
