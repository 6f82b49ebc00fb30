"""Receivers of finished pictures: one file each."""
