"""What exists because something existed before: old files, old code."""
