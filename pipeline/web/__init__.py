"""The browser page, and the health and metrics of a run over HTTP."""
