"""`nano`'s network in torch: layers, losses, optimiser and the smaller types it trains in."""
