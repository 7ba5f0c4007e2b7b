"""`params.yaml` as frozen values: every knob, its range, and what is said of a wrong one."""
