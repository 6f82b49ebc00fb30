"""What clips are made of: drawn figures and solids, photographs, backgrounds, light and motion."""
