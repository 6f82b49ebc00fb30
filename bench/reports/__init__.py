"""What a measurement says about itself: environment, tables, sheets of pictures."""
