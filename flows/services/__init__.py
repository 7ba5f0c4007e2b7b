"""Prefect, Label Studio and the hook's receiver on this machine: started, found, stopped."""
