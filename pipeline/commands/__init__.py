"""The command line's subcommands: one file each, with `run(argv) -> exit code`; `run.py` is the run without one."""

COMMANDS = ("batch", "report", "train", "evaluate", "optimize", "weights", "doctor", "cameras")
"""Each is a module of this folder, loaded only when the user names it."""
