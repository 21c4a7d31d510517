"""What is here because something was there before."""
