"""What a newcomer gets without setting a knob: what the plan's rules were chosen by."""
