"""What the window shows around the feed: status, help, notes, outlines."""
