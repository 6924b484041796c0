"""The vocabulary, a family a file.  Data only: `kayrx.plan` gives the nodes their meaning."""
