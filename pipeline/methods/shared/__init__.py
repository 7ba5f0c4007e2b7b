"""What several methods are built of: losses, mixing, perturbations, teachers."""
