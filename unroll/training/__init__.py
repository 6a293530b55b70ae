"""What training needs besides gradients: optimizers, schedules and stopping criteria."""
