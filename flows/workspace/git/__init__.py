"""What git keeps of a workspace: its commands, its state, whose commits they are."""
