"""`omma images`: the operations on whole images.

Exit codes: 0 every picture has its answer; 1 some have not; 2 wrong usage, or no server.
"""

from omma.cli.operations import commands_of

app = commands_of("images")
