"""Click to mask: what Label Studio asks while people click, and what it is answered.

Label Studio sends the points and boxes of its smart tools to a "machine learning backend" and shows
the regions that come back. docs/assist.md has its protocol as measured. Here is all that needs
neither a secret nor an engine; the process itself is `flows.services.assist_server`.
"""
