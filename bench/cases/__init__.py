"""Hard cases made from labelled clips, with known truth: what they show and how they are scored."""
