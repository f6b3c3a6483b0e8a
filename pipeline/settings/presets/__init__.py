"""Settings files that a flag applies over config.yaml: kiosk.yaml for `--kiosk`."""
