"""Programs for the project itself: its environment, its tables; nothing of SamCam imports them."""
