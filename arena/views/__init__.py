"""The arena's pages, each a function that Streamlit runs; `frame` holds what they share.

Not called `pages/`: Streamlit would take each file of a folder of that name beside the script for a page of its own.
"""
