"""Free data: Debian's packages, their licences and attributions."""
