"""Vision transformers: timm's encoders, what can be exchanged in them, and their decoders."""
