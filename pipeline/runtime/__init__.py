"""How this process uses the machine: device, threads, memory, progress."""
