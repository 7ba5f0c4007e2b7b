"""Training a probe, and a probe beside a network: whichever is better on val is kept."""
