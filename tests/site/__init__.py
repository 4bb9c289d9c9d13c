"""The documentation's site: pages that come from the code, and the check of what a built page loads."""
