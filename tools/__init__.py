"""Programs that set up the project; they run on a bare Python and nothing imports them."""
