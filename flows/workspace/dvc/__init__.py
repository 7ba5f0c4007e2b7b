"""DVC's own files and cache; nothing else knows their formats."""
