"""A small network on frozen features (a probe), which stands for a training in seconds."""
