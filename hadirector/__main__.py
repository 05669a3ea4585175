"""`python -m hadirector`: the same as the `hadirector` command."""

import sys

from hadirector.cli.main import main

sys.exit(main())
