"""What the pages share. A folder, because Streamlit takes every file directly in pages/ for a page."""
