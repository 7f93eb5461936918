"""The arena's pages, each a function that Streamlit runs; `frame` holds what they share."""
