"""What pages are made of: a folder for each page, and shared/ for what several use."""
