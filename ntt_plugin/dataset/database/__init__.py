"""What is kept in FiftyOne's database: runs, locks, files, labels found again."""
