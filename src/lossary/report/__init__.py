"""What people look at: figures, the page, the words and tables of the terminal."""
