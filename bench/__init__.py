"""Programs that measure accuracy and speed; nothing here is imported by the product."""
