"""Side-by-side benchmarks of relevo and the mail servers installed here."""
