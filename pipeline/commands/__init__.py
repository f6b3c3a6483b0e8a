"""The subcommands of `stream_segment.py`: one file each, with `run(argv) -> exit code`, loaded when it is asked for."""
