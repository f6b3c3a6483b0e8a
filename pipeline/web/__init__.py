"""The page: a run in a browser, its health and its numbers over HTTP."""
