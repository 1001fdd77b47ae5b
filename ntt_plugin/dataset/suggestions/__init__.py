"""What to label next: the proposals that would teach a bank most."""
