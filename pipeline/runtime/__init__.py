"""A run: the stages between a source and the sinks, and the stream that holds them."""
