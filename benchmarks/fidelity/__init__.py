"""Whether names keep their promise: formulas of the product beside a second, plain writing."""
