"""What each tool of Label Studio leaves in an answer, as pixels."""
