"""Where presented frames go."""
