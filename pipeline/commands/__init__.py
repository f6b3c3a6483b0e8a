"""The subcommands of `stream_segment.py`: a module each, with `run(argv) -> exit code`, imported on use."""
