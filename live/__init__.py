"""The live loop: capture, infer, render, and everything that leaves the app."""
