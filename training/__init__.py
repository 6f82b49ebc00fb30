"""Training of SamCam's model on clips that are drawn by a program, without labels."""
