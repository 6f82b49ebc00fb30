"""Small programs that use SamCam from Python; each runs as it stands."""
