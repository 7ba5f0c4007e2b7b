"""What to train and how, from the images and the machine: `auto` in params.yaml stands for it."""
