"""Settings: the schema, loading from YAML and the command line, presets."""
